//! A build without the feature `environments`: there are none.

use std::time::Duration;

use crate::error::{Code, Error, Result};
use crate::options::{Options, Secret};

/// Nothing that could be made.
#[derive(Debug)]
pub enum Environments {}

/// See [`Environments`].
#[derive(Debug)]
pub enum Environment {}

/// What to connect to.
#[derive(Debug)]
pub struct Plan {
    /// To launch.
    pub argv: Option<Vec<Secret>>,
    /// The host's options with the environment's settings.
    pub options: Options,
    /// How long connecting may take.
    pub limit: Duration,
}

impl Environments {
    /// `Unsupported`.
    pub fn load(_path: Option<&str>) -> Result<Self> {
        Err(Error::new(Code::Unsupported, "this build was made without environments.toml"))
    }

    /// Of nothing.
    pub fn find(&self, _id: Option<&str>) -> Result<&Environment> {
        match *self {}
    }

    /// Of nothing.
    pub fn list(&self) -> String {
        match *self {}
    }
}

impl Environment {
    /// Of nothing.
    pub fn plan(&self, _options: &Options) -> Result<Plan> {
        match *self {}
    }
}
