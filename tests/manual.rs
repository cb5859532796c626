//! docs/leash.3: the header as a manual page.

use std::path::Path;
use std::{env, fs};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A comment of the header, and the declaration below it.
struct Item {
    text: String,
    declaration: String,
}

/// The items of the header, in its order. The first is about the whole file.
fn items(header: &str) -> Vec<Item> {
    let mut items = Vec::new();
    for part in header.split("/* ").skip(1) {
        let (comment, code) = part.split_once("*/").expect("a comment ends");
        let lines = comment.lines().map(|line| {
            let line = line.trim_start();
            line.strip_prefix("* ").or(line.strip_prefix('*')).unwrap_or(line)
        });
        let text = lines.collect::<Vec<_>>().join("\n").trim_end().to_owned();
        items.push(Item { text, declaration: code.trim().to_owned() });
    }
    items
}

/// Text that troff takes as it is.
fn plain(text: &str) -> String {
    let escape = |line: &str| {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
    };
    text.lines().map(escape).collect::<Vec<_>>().join("\n")
}

/// Paragraphs; an empty line is between two.
fn paragraphs(text: &str) -> String {
    text.split("\n\n").map(plain).collect::<Vec<_>>().join("\n.PP\n")
}

/// `Threads:   any function...` and what belongs to it, indented.
fn rules(text: &str) -> String {
    let mut page = String::new();
    let (_, rules) = text.split_once("RULES THAT HOLD FOR EVERY FUNCTION\n").expect("the rules");
    for line in rules.lines() {
        match line.split_once(':').filter(|_| line.starts_with(|c: char| c.is_uppercase())) {
            Some((name, rest)) => page += &format!(".TP\n.B {name}\n{}\n", plain(rest.trim())),
            None => page += &format!("{}\n", plain(line.trim())),
        }
    }
    page
}

/// The name of the function that a declaration declares.
fn function(declaration: &str) -> Option<&str> {
    let (head, _) = declaration.split_once('(')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = head.rsplit(|c: char| !is_name(c)).next()?;
    (name.starts_with("leash_") && !declaration.starts_with("enum")).then_some(name)
}

fn prototype(declaration: &str) -> &str {
    declaration.split_once(';').expect("it ends").0
}

/// Constants stand one below the other, each with its comment.
fn constant(declaration: &str) -> Option<String> {
    let line = declaration.lines().next()?;
    let (name, value) = match line.strip_prefix("#define ") {
        Some(define) => define.split_once(' ')?,
        None => line.trim_end_matches(',').split_once(" = ")?,
    };
    name.starts_with("LEASH_").then(|| format!("{name} = {value}"))
}

fn page() -> String {
    let header = fs::read_to_string(root().join("include/leash.h")).unwrap();
    let items = items(&header);
    let (mut functions, mut constants) = (String::new(), String::new());
    for item in &items[1..] {
        let Item { text, declaration } = item;
        if let Some(name) = function(declaration) {
            let prototype = plain(prototype(declaration));
            functions +=
                &format!(".SS {name}\n.nf\n{prototype};\n.fi\n.PP\n{}\n", paragraphs(text));
        } else if let Some(constant) = constant(declaration) {
            constants += &format!(".TP\n.B {}\n{}\n", plain(&constant), plain(text));
        } else if let Some((name, _)) = declaration.split_once(" {") {
            constants += &format!(".SS {name}\n{}\n", plain(text));
        }
    }
    let names: Vec<_> = items.iter().filter_map(|item| function(&item.declaration)).collect();
    let version = env!("CARGO_PKG_VERSION");
    format!(
        ".\\\" Made of include/leash.h: LEASH_BLESS=1 cargo test --test manual\n\
         .TH LEASH 3 \"\" \"libleash {version}\" \"Library Functions Manual\"\n\
         .SH NAME\nleash \\- drive a JSON\\-RPC server, and leave nothing running when you let go\n\
         .SH SYNOPSIS\n.nf\n.B #include <leash.h>\n.PP\nLink with \\-lleash.\n.PP\n{}\n.fi\n\
         .SH DESCRIPTION\nWhat holds for every function:\n{}\
         .SH FUNCTIONS\n{functions}\
         .SH CONSTANTS\n{constants}\
         .SH ENVIRONMENT\n.TP\n.B LEASH_TRACE\nA file to which each connection appends a trace.\n\
         .TP\n.B CODEX_EXEC_SERVER_URL\nSee leash_connect_env.\n\
         .TP\n.B SSL_CERT_FILE, SSL_CERT_DIR\nOther system roots for wss://.\n",
        names.join(",\n"),
        rules(&items[0].text),
    )
}

#[test]
fn the_committed_page_is_made_of_the_header() {
    let path = root().join("docs/leash.3");
    let made = page();
    if env::var_os("LEASH_BLESS").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "docs/leash.3 is out of date; refresh it: LEASH_BLESS=1 cargo test --test manual"
    );
}

#[test]
fn it_has_every_function_and_every_constant() {
    let page = page();
    let header = fs::read_to_string(root().join("include/leash.h")).unwrap();
    let code: String = header.split("/*").map(|part| part.rsplit("*/").next().unwrap()).collect();
    let words = code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let names =
        words.filter(|word| word.starts_with("LEASH_") || code.contains(&format!("{word}(")));
    let mut seen = 0;
    for name in names.filter(|name| name.to_lowercase().starts_with("leash_") && *name != "LEASH_H")
    {
        seen += 1;
        let heading = [format!(".SS {name}\n"), format!(".B {name} = ")];
        assert!(heading.iter().any(|heading| page.contains(heading)), "nothing about {name}");
    }
    assert!(seen > 100, "only {seen} names");
}
