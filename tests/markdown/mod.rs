//! The pages that a reader gets, and the code in them.
#![allow(dead_code, reason = "each test uses a part")]

use std::fs;
use std::path::{Path, PathBuf};

/// A page of Markdown.
pub struct Page {
    pub path: PathBuf,
    pub text: String,
}

/// A fenced block of code.
pub struct Block {
    /// `docs/calling.md:7`, to find it again.
    pub place: String,
    pub language: String,
    pub code: String,
}

/// All pages.
pub fn pages() -> Vec<Page> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["", "docs", "bindings/cpp", "bindings/python"];
    let mut paths: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).expect("a folder"))
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .collect();
    paths.sort();
    let page = |path: PathBuf| Page { text: fs::read_to_string(&path).expect("UTF-8"), path };
    paths.into_iter().map(page).collect()
}

impl Page {
    /// Its path within the project.
    pub fn name(&self) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        self.path.strip_prefix(root).expect("ours").display().to_string()
    }

    /// The code in it. A fence may be indented, and then its code is, too.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<(usize, Block)> = None;
        for (number, line) in self.text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            match (&mut open, line.trim_start().strip_prefix("```")) {
                (None, Some(language)) => {
                    let place = format!("{}:{}", self.name(), number + 1);
                    let language = language.trim().to_owned();
                    open = Some((indent, Block { place, language, code: String::new() }));
                }
                (None, None) => {}
                (Some(_), Some(_)) => blocks.extend(open.take().map(|(_, block)| block)),
                (Some((indent, block)), None) => {
                    block.code.push_str(line.get(*indent..).unwrap_or_default());
                    block.code.push('\n');
                }
            }
        }
        assert!(open.is_none(), "{} has a block without an end", self.name());
        blocks
    }

    /// The text without its code: what links and headings are looked for in.
    pub fn prose(&self) -> String {
        let mut is_code = false;
        let is_prose = |line: &&str| {
            let is_fence = line.trim_start().starts_with("```");
            is_code ^= is_fence;
            !is_code && !is_fence
        };
        self.text.lines().filter(is_prose).collect::<Vec<_>>().join("\n")
    }
}

/// The code of one language, on all pages.
pub fn blocks_in(language: &str) -> Vec<Block> {
    let blocks = pages().into_iter().flat_map(|page| page.blocks());
    blocks.filter(|block| block.language == language).collect()
}
