//! codex's `environments.toml`: servers that have names.
//!
//! The file is read as codex reads it, with the same rules for what is valid.
//! Texts differ: ours name the file, the line and the key, and never a value of
//! `args`, `env` or `url`. docs/environments.md has the rules and the
//! differences.

use std::collections::BTreeMap;
use std::env::{self, VarError};
use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};
use zeroize::Zeroizing;

use crate::error::{Code, Error, Result};
use crate::options::{Options, Secret};
use crate::sys;

/// Where codex looks when there is no file.
const VARIABLE: &str = "CODEX_EXEC_SERVER_URL";
/// What codex calls the environment of [`VARIABLE`].
const REMOTE: &str = "remote";
/// The host itself; no server is started for it.
const LOCAL: &str = "local";
/// As a default, or as [`VARIABLE`]: no environment, in any case of letters.
const NONE: &str = "none";
const MAX_ID: usize = 64;
/// A file of a thousand environments has a tenth of this.
const MAX_FILE: u64 = 1 << 20;
/// codex's, for both limits.
const DEFAULT_LIMIT: Duration = Duration::from_secs(10);

/// What a file of environments holds.
#[derive(Debug)]
pub struct Environments {
    /// What texts call the file.
    source: String,
    default: Default,
    include_local: bool,
    list: Vec<Environment>,
}

#[derive(Debug, PartialEq, Eq)]
enum Default {
    Disabled,
    Id(String),
}

/// One server with a name.
#[derive(Debug)]
pub struct Environment {
    id: String,
    server: Server,
    connect_limit: Duration,
    initialize_limit: Duration,
}

#[derive(Debug)]
enum Server {
    Program { argv: Vec<Secret>, env: Vec<Secret>, cwd: Option<String> },
    Url(Secret),
}

/// What to connect to: what an environment and the host's options say together.
#[derive(Debug)]
pub struct Plan {
    /// To launch; `None` dials the URL of `options`.
    pub argv: Option<Vec<Secret>>,
    /// The host's options with the environment's settings.
    pub options: Options,
    /// How long connecting may take, unless the host says.
    pub limit: Duration,
}

impl Environments {
    /// Read the file at `path`. Without one there is the environment that
    /// `CODEX_EXEC_SERVER_URL` names, if it does.
    ///
    /// `Invalid`: the file cannot be read, or is not valid.
    pub fn load(path: Option<&str>) -> Result<Self> {
        match path {
            Some(path) => Self::parse(&read(path)?, path),
            None => match env::var(VARIABLE) {
                Ok(url) => Self::of_variable(&Zeroizing::new(url)),
                Err(VarError::NotPresent) => Self::of_variable(""),
                Err(VarError::NotUnicode(_)) => {
                    Err(invalid(format!("{VARIABLE} is not UTF-8: it must be a url")))
                }
            },
        }
    }

    /// The same of a file's `text`; nothing is read. `path` is for errors and
    /// for what is relative to the file.
    pub fn parse(text: &str, path: &str) -> Result<Self> {
        let source = format!("{path:?}");
        let document = Document { name: &source, text, path };
        let (default, include_local, list) = document.parse()?;
        Ok(Self { source, default, include_local, list })
    }

    /// The environment of `CODEX_EXEC_SERVER_URL`, whose value is `url`.
    fn of_variable(url: &str) -> Result<Self> {
        let source = VARIABLE.to_owned();
        let url = url.trim();
        if url.is_empty() {
            return Err(invalid(format!(
                "no file was given, and {VARIABLE} is not set: set it to ws://HOST:PORT, or give \
                 the path of an environments.toml"
            )));
        }
        if url.eq_ignore_ascii_case(NONE) {
            let default = Default::Disabled;
            return Ok(Self { source, default, include_local: false, list: Vec::new() });
        }
        check_url(url).map_err(|why| invalid(format!("{VARIABLE} {why}")))?;
        let remote = Environment {
            id: REMOTE.to_owned(),
            server: Server::Url(Secret::new(url)),
            connect_limit: DEFAULT_LIMIT,
            initialize_limit: DEFAULT_LIMIT,
        };
        let default = Default::Id(REMOTE.to_owned());
        Ok(Self { source, default, include_local: false, list: vec![remote] })
    }

    /// The environment of that id, or the default one.
    ///
    /// `Invalid`: there is none, or it is disabled. `Unsupported`: it is the
    /// host itself.
    pub fn find(&self, id: Option<&str>) -> Result<&Environment> {
        let source = &self.source;
        let id = match (id, &self.default) {
            (Some(id), _) => id,
            (None, Default::Id(id)) => id,
            (None, Default::Disabled) => {
                return Err(invalid(match (source == VARIABLE, self.include_local) {
                    (true, _) => format!("{VARIABLE} is \"none\": it disables the environment"),
                    (false, true) => format!("{source}: the default is \"none\": name another"),
                    (false, false) => format!("{source} has no default environment: name one"),
                }));
            }
        };
        if let Some(environment) = self.list.iter().find(|environment| environment.id == id) {
            return Ok(environment);
        }
        if id == LOCAL && self.include_local {
            return Err(Error::new(
                Code::Unsupported,
                format!(
                    "{source}: \"local\" is this machine without a server: name an environment \
                     that has one"
                ),
            ));
        }
        let wanted = match is_id(id) {
            true => format!("{id:?}"),
            false => "of this name".to_owned(),
        };
        Err(invalid(format!("{source} has no environment {wanted}; {}", self.ids())))
    }

    /// Help for who mistook an id.
    fn ids(&self) -> String {
        const SHOWN: usize = 16;
        let ids: Vec<_> = self.list.iter().map(|e| format!("{:?}", e.id)).collect();
        match ids.len() {
            0 => "it has none".to_owned(),
            1..=SHOWN => format!("it has {}", ids.join(", ")),
            more => format!("it has {} and {} more", ids[..SHOWN].join(", "), more - SHOWN),
        }
    }

    /// All of it as JSON, but for what may be secret.
    pub fn list(&self) -> String {
        // Ids need no escapes.
        let list = self.list.iter().map(|environment| {
            let Environment { id, server, connect_limit, initialize_limit } = environment;
            let kind = match server {
                Server::Program { .. } => "stdio",
                Server::Url(_) => "url",
            };
            let (connect, initialize) = (connect_limit.as_secs_f64(), initialize_limit.as_secs_f64());
            format!(
                r#"{{"id":"{id}","kind":"{kind}","connect_timeout_sec":{connect},"initialize_timeout_sec":{initialize}}}"#
            )
        });
        let list: Vec<_> = list.collect();
        let default = match &self.default {
            Default::Disabled => "null".to_owned(),
            Default::Id(id) => format!(r#""{id}""#),
        };
        format!(r#"{{"default":{default},"environments":[{}]}}"#, list.join(","))
    }
}

impl Environment {
    /// What the environment and the host's options say together.
    ///
    /// `Invalid`: both say the same, or the options say what is of no use here.
    pub fn plan(&self, options: &Options) -> Result<Plan> {
        let id = &self.id;
        let mut options = options.clone();
        let refuse = |why: String| Err(invalid(format!("environment {id:?} {why}")));
        let argv = match &self.server {
            Server::Url(url) => {
                if options.url.is_some() {
                    return refuse("has a url: LEASH_OPT_URL gives another".to_owned());
                }
                if let Some(name) = options.only_for_process() {
                    return refuse(format!("has a url: {name} is for a child process"));
                }
                options.url = Some(url.clone());
                None
            }
            Server::Program { argv, env, cwd } => {
                if let Some(name) = options.only_for_url() {
                    return refuse(format!("starts a program: {name} is for a WebSocket"));
                }
                if cwd.is_some() && options.cwd.is_some() {
                    return refuse("has a cwd: LEASH_OPT_CWD gives another".to_owned());
                }
                let has = |other: &Secret| env.iter().any(|own| name(own) == name(other));
                if options.env.iter().any(has) {
                    return refuse(
                        "has an env: LEASH_OPT_ENV gives one of its variables, too".to_owned(),
                    );
                }
                options.env.extend_from_slice(env);
                options.cwd = options.cwd.or_else(|| cwd.clone());
                Some(argv.clone())
            }
        };
        // A limit of zero would mean not to wait.
        let limit = self.connect_limit.max(Duration::from_millis(1));
        Ok(Plan { argv, options, limit })
    }
}

/// The name in `NAME=value`, or in `NAME`.
fn name(variable: &str) -> &str {
    variable.split('=').next().unwrap_or_default()
}

/// The text of the file, as a whole or not at all.
fn read(path: &str) -> Result<Zeroizing<String>> {
    let unreadable = |e: io::Error| Error::os(Code::Invalid, format!("cannot read {path:?}"), &e);
    let refuse = |why: String, errno| {
        Err(Error::os(Code::Invalid, why, &io::Error::from_raw_os_error(errno)))
    };
    let mut file = open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        let errno = if metadata.is_dir() { libc::EISDIR } else { libc::EINVAL };
        return refuse(format!("{path:?} is not a regular file"), errno);
    }
    // Room for all at once: a buffer that grows leaves copies behind.
    let expected = metadata.len().min(MAX_FILE) as usize;
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected + 2));
    file.by_ref().take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return refuse(format!("{path:?} is larger than 1 MiB"), libc::EFBIG);
    }
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(e) => {
            let valid = e.utf8_error().valid_up_to();
            let bytes = Zeroizing::new(e.into_bytes());
            let line = line(&bytes, valid);
            refuse(format!("{path:?}, line {line}: not UTF-8"), libc::EILSEQ)
        }
    }
}

/// Open it without waiting: what is not a file may have nobody at its other end.
fn open(path: &str) -> io::Result<File> {
    sys::fill_standard()?;
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// The line of a byte, from 1.
fn line(text: &[u8], at: usize) -> usize {
    1 + memchr::memchr_iter(b'\n', &text[..at.min(text.len())]).count()
}

/// A file that is being parsed.
struct Document<'t> {
    name: &'t str,
    text: &'t str,
    path: &'t str,
}

/// A value, and where it is.
struct Given<T> {
    value: T,
    at: usize,
}

impl<'t> Document<'t> {
    fn error(&self, at: usize, what: impl Display) -> Error {
        let line = line(self.text.as_bytes(), at);
        invalid(format!("{}, line {line}: {what}", self.name))
    }

    fn parse(&self) -> Result<(Default, bool, Vec<Environment>)> {
        let table = DeTable::parse(self.text).map_err(|e| {
            // Not its Display, which quotes the file. What its message quotes
            // is the grammar.
            let at = e.span().map_or(self.text.len(), |span: Range<usize>| span.start);
            self.error(at, format!("not TOML: {}", e.message()))
        })?;
        let mut keys = Keys::new(self, String::new(), table);
        let default = keys.text("default")?;
        let include_local = keys.flag("include_local")?;
        let tables = keys.tables("environments")?;
        keys.finish()?;

        let include_local = include_local.is_none_or(|given| given.value);
        let mut list: Vec<Environment> = Vec::with_capacity(tables.len());
        let mut lines = BTreeMap::new();
        for table in tables {
            let at = table.span().start;
            let environment = self.environment(table)?;
            let first = *lines.entry(environment.id.clone()).or_insert(at);
            if first != at {
                let line = line(self.text.as_bytes(), first);
                let id = &environment.id;
                return Err(self.error(at, format!("environment {id:?} is on line {line}, too")));
            }
            list.push(environment);
        }
        let default = self.default(default, include_local, &list)?;
        Ok((default, include_local, list))
    }

    fn default(
        &self,
        given: Option<Given<Zeroizing<String>>>,
        include_local: bool,
        list: &[Environment],
    ) -> Result<Default> {
        let Some(Given { value, at }) = given else {
            return Ok(match include_local {
                true => Default::Id(LOCAL.to_owned()),
                false => Default::Disabled,
            });
        };
        let id = value.trim();
        if id.is_empty() {
            return Err(self.error(at, "default is empty"));
        }
        if id.eq_ignore_ascii_case(NONE) {
            return Ok(Default::Disabled);
        }
        if id == LOCAL && !include_local {
            return Err(self.error(at, "default is \"local\", but include_local is false"));
        }
        if id != LOCAL && !list.iter().any(|environment| environment.id == id) {
            let what = match is_id(id) {
                true => format!("default is {id:?}, but no environment is"),
                false => "default is not the id of an environment".to_owned(),
            };
            return Err(self.error(at, what));
        }
        Ok(Default::Id(id.to_owned()))
    }

    fn environment(&self, table: Spanned<DeTable<'t>>) -> Result<Environment> {
        let start = table.span().start;
        let mut keys = Keys::new(self, "[[environments]]: ".to_owned(), table);
        let id = keys.text("id")?;
        let Some(id) = id else { return Err(keys.error(start, "id is missing")) };
        check_id(&id.value).map_err(|why| keys.error(id.at, why))?;
        let id = String::clone(&id.value);
        keys.of = format!("environment {id:?}: ");

        let url = keys.text("url")?;
        let program = keys.text("program")?;
        let args = keys.texts("args")?;
        let env = keys.variables("env")?;
        let cwd = keys.text("cwd")?;
        let connect_limit = keys.seconds("connect_timeout_sec")?;
        let initialize_limit = keys.seconds("initialize_timeout_sec")?;
        let of = keys.finish()?;
        let refuse = |at, what: &str| Err(self.error(at, format!("{of}{what}")));

        let for_program = [
            ("args", args.as_ref().map(|given| given.at)),
            ("env", env.as_ref().map(|given| given.at)),
            ("cwd", cwd.as_ref().map(|given| given.at)),
        ];
        for (key, at) in for_program {
            if let (Some(at), None) = (at, &program) {
                return refuse(at, &format!("{key} needs program"));
            }
        }
        if let (Some(Given { at, .. }), None) = (&connect_limit, &url) {
            return refuse(*at, "connect_timeout_sec needs url");
        }
        let server = match (url, program) {
            (None, None) => return refuse(start, "url or program is missing"),
            (Some(url), Some(program)) => {
                return refuse(url.at.max(program.at), "url and program exclude each other");
            }
            (Some(Given { value, at }), None) => {
                let url = value.trim();
                if let Err(why) = check_url(url) {
                    return refuse(at, &format!("url {why}"));
                }
                Server::Url(Secret::new(url))
            }
            (None, Some(Given { value, at })) => {
                let program = value.trim();
                if program.is_empty() {
                    return refuse(at, "program is empty");
                }
                let args = args.map(|args| args.value).unwrap_or_default();
                Server::Program {
                    argv: [Secret::new(program)].into_iter().chain(args).collect(),
                    env: env.map(|env| env.value).unwrap_or_default(),
                    cwd: cwd.map(|cwd| self.beside(&cwd.value)),
                }
            }
        };
        let limit = |given: Option<Given<Duration>>| given.map_or(DEFAULT_LIMIT, |g| g.value);
        let (connect_limit, initialize_limit) = (limit(connect_limit), limit(initialize_limit));
        Ok(Environment { id, server, connect_limit, initialize_limit })
    }

    /// A path that is relative to the file's folder.
    fn beside(&self, path: &str) -> String {
        let folder = Path::new(self.path).parent().unwrap_or(Path::new(""));
        // An empty path would be no folder, not this one.
        let joined = if folder == "" && path.is_empty() { ".".into() } else { folder.join(path) };
        joined.into_os_string().into_string().expect("both parts are UTF-8")
    }
}

/// A table whose keys are taken one after the other.
struct Keys<'d, 't> {
    document: &'d Document<'t>,
    /// What errors begin with.
    of: String,
    left: Vec<(Spanned<DeString<'t>>, Spanned<DeValue<'t>>)>,
}

impl<'d, 't> Keys<'d, 't> {
    fn new(document: &'d Document<'t>, of: String, table: Spanned<DeTable<'t>>) -> Self {
        let mut left: Vec<_> = table.into_inner().into_iter().collect();
        left.sort_by_key(|(key, _)| key.span().start);
        Self { document, of, left }
    }

    fn error(&self, at: usize, what: impl Display) -> Error {
        self.document.error(at, format!("{}{what}", self.of))
    }

    fn take(&mut self, key: &str) -> Option<Given<DeValue<'t>>> {
        let index = self.left.iter().position(|(other, _)| other.get_ref() == key)?;
        let (key, value) = self.left.remove(index);
        Some(Given { at: key.span().start, value: value.into_inner() })
    }

    /// Every key was known. What errors about the table begin with.
    fn finish(self) -> Result<String> {
        match self.left.first() {
            None => Ok(self.of),
            Some((key, _)) => Err(self.error(key.span().start, unknown(key.get_ref()))),
        }
    }

    fn text(&mut self, key: &str) -> Result<Option<Given<Zeroizing<String>>>> {
        let Some(Given { value, at }) = self.take(key) else { return Ok(None) };
        match text(value) {
            Ok(value) => Ok(Some(Given { value, at })),
            Err(why) => Err(self.error(at, format!("{key} {why}"))),
        }
    }

    fn flag(&mut self, key: &str) -> Result<Option<Given<bool>>> {
        match self.take(key) {
            None => Ok(None),
            Some(Given { value: DeValue::Boolean(value), at }) => Ok(Some(Given { value, at })),
            Some(Given { at, .. }) => Err(self.error(at, format!("{key} must be true or false"))),
        }
    }

    fn seconds(&mut self, key: &str) -> Result<Option<Given<Duration>>> {
        let Some(Given { value, at }) = self.take(key) else { return Ok(None) };
        match seconds(&value) {
            Some(value) => Ok(Some(Given { value, at })),
            None => Err(self.error(at, format!("{key} must be a number of seconds, 0 or more"))),
        }
    }

    fn tables(&mut self, key: &str) -> Result<Vec<Spanned<DeTable<'t>>>> {
        let Some(Given { value, at }) = self.take(key) else { return Ok(Vec::new()) };
        let wrong = |at| self.error(at, format!("{key} must be tables, written [[{key}]]"));
        let DeValue::Array(items) = value else { return Err(wrong(at)) };
        let items = items.into_iter().map(|item| {
            let span = item.span();
            match item.into_inner() {
                DeValue::Table(table) => Ok(Spanned::new(span, table)),
                _ => Err(wrong(span.start)),
            }
        });
        items.collect()
    }

    fn texts(&mut self, key: &str) -> Result<Option<Given<Vec<Secret>>>> {
        let Some(Given { value, at }) = self.take(key) else { return Ok(None) };
        let DeValue::Array(items) = value else {
            return Err(self.error(at, format!("{key} must be a list of texts")));
        };
        let items = items.into_iter().map(|item| {
            let at = item.span().start;
            let text = text(item.into_inner());
            text.map(|text| Secret::new(&text))
                .map_err(|why| self.error(at, format!("an item of {key} {why}")))
        });
        Ok(Some(Given { value: items.collect::<Result<_>>()?, at }))
    }

    /// Each as `NAME=value`.
    fn variables(&mut self, key: &str) -> Result<Option<Given<Vec<Secret>>>> {
        let Some(Given { value, at }) = self.take(key) else { return Ok(None) };
        let DeValue::Table(table) = value else {
            return Err(self.error(at, format!("{key} must be a table of texts")));
        };
        let mut items: Vec<_> = table.into_iter().collect();
        items.sort_by_key(|(name, _)| name.span().start);
        let items = items.into_iter().map(|(name, value)| {
            let at = name.span().start;
            let name = name.into_inner();
            if name.is_empty() || name.contains(['=', '\0']) {
                let what = "has a name that is empty, or contains \"=\" or a NUL";
                return Err(self.error(at, format!("{key} {what}")));
            }
            let value = text(value.into_inner());
            let value = value.map_err(|why| self.error(at, format!("a value of {key} {why}")))?;
            Ok(Secret::new(&Zeroizing::new([&*name, "=", &**value].concat())))
        });
        Ok(Some(Given { value: items.collect::<Result<_>>()?, at }))
    }
}

fn text(value: DeValue<'_>) -> std::result::Result<Zeroizing<String>, &'static str> {
    let DeValue::String(text) = value else { return Err("must be text in quotes") };
    let text = Zeroizing::new(text.into_owned());
    match text.contains('\0') {
        true => Err("contains a NUL"),
        false => Ok(text),
    }
}

fn seconds(value: &DeValue<'_>) -> Option<Duration> {
    let seconds = match value {
        DeValue::Float(number) => number.as_str().parse().ok()?,
        DeValue::Integer(number) => {
            u64::from_str_radix(number.as_str(), number.radix()).ok()? as f64
        }
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

fn unknown(key: &str) -> String {
    match key {
        "auth_bearer_token" => {
            "auth_bearer_token is not read here: set LEASH_OPT_BEARER".to_owned()
        }
        "skills" => "skills is codex's own: give libleash a file without it".to_owned(),
        // More is hardly a key: who has quoted the wrong thing need not see it
        // in a log.
        _ if is_id(key) => format!("unknown key {key:?}"),
        _ => "unknown key".to_owned(),
    }
}

/// Whether `text` could be an id, and so can be shown.
fn is_id(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !text.is_empty() && text.len() <= MAX_ID && text.bytes().all(good)
}

fn check_id(id: &str) -> std::result::Result<(), String> {
    if id.is_empty() {
        return Err("id is empty".to_owned());
    }
    if id == LOCAL || id.eq_ignore_ascii_case(NONE) {
        return Err(format!("id {id:?} has a meaning of its own: choose another"));
    }
    if id.len() > MAX_ID {
        return Err(format!("id is longer than {MAX_ID} characters"));
    }
    match is_id(id) {
        true => Ok(()),
        false => Err("id may have only ASCII letters, digits, \"-\" and \"_\"".to_owned()),
    }
}

/// What codex checks of a url: less than what can be dialled.
fn check_url(url: &str) -> std::result::Result<(), &'static str> {
    if url.is_empty() {
        return Err("is empty");
    }
    let rest = url.strip_prefix("ws://").or_else(|| url.strip_prefix("wss://"));
    let Some(rest) = rest else { return Err("must begin with ws:// or wss://") };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    if host.is_empty() || host.starts_with(':') {
        return Err("has no host");
    }
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-._~:[]@!$&'()*+,;=%".contains(&b);
    if !authority.bytes().all(good) || host.starts_with('[') != host.contains(']') {
        return Err("has a host that cannot be one");
    }
    match url.bytes().any(|b| b.is_ascii_control() || b" <>`".contains(&b)) {
        true => Err("contains a character that must be written as %XX"),
        false => Ok(()),
    }
}

fn invalid(text: String) -> Error {
    Error::new(Code::Invalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(lines: &str, path: &str) -> Plan {
        let text = format!("[[environments]]\nid = \"a\"\n{lines}");
        let environments = Environments::parse(&text, path).unwrap();
        environments.find(Some("a")).unwrap().plan(&Options::default()).unwrap()
    }

    #[test]
    fn a_relative_cwd_begins_at_the_files_folder() {
        for (path, cwd, wanted) in [
            ("/etc/environments.toml", "work", "/etc/work"),
            ("/etc/environments.toml", "../work", "/etc/../work"),
            ("/etc/environments.toml", "", "/etc/"),
            ("/etc/environments.toml", "/work", "/work"),
            ("conf/environments.toml", "work", "conf/work"),
            ("environments.toml", "work", "work"),
            ("environments.toml", "", "."),
        ] {
            let plan = plan(&format!("program = \"x\"\ncwd = {cwd:?}"), path);
            assert_eq!(plan.options.cwd.as_deref(), Some(wanted), "{path} {cwd}");
        }
        assert_eq!(plan("program = \"x\"", "/etc/environments.toml").options.cwd, None);
    }

    #[test]
    fn the_files_limit_is_for_connecting_and_never_zero() {
        for (lines, wanted) in [
            ("program = \"x\"\ninitialize_timeout_sec = 1", 10_000),
            ("url = \"ws://h\"", 10_000),
            ("url = \"ws://h\"\nconnect_timeout_sec = 2.5", 2500),
            ("url = \"ws://h\"\nconnect_timeout_sec = 3_600", 3_600_000),
            ("url = \"ws://h\"\nconnect_timeout_sec = 0", 1),
        ] {
            assert_eq!(plan(lines, "f").limit, Duration::from_millis(wanted), "{lines}");
        }
    }

    #[test]
    fn a_url_becomes_an_option_and_a_program_argv() {
        let dialled = plan("url = ' wss://h/p '", "f");
        assert!(dialled.argv.is_none());
        assert_eq!(dialled.options.url.as_deref(), Some("wss://h/p"));
        let started = plan("program = ' x '\nargs = [' y ', '']\nenv = {A = 'b=c'}", "f");
        let argv: Vec<_> = started.argv.iter().flatten().map(|item| &**item).collect();
        assert_eq!(argv, ["x", " y ", ""]);
        assert_eq!(&*started.options.env[0], "A=b=c");
        assert!(started.options.url.is_none());
    }

    #[test]
    fn debug_shows_no_value() {
        let text = "[[environments]]\nid = 'a'\nprogram = 'hunter2'\nargs = ['hunter2']\n\
                    env = {A = 'hunter2'}\n[[environments]]\nid = 'b'\nurl = 'ws://hunter2'";
        let environments = Environments::parse(text, "f").unwrap();
        assert!(!format!("{environments:?}").contains("hunter2"));
    }
}
