//! Files of environments: what is said of each, and what codex 0.169.0 says.

/// One file.
pub struct Row {
    /// What the row shows.
    pub name: &'static str,
    /// The file's text.
    pub text: &'static str,
    /// Its list, or the error's text after the file's name.
    pub ours: Result<&'static str, &'static str>,
    /// Whether codex starts with it.
    pub codex: Codex,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codex {
    /// It says what we say.
    Agrees,
    /// It takes a file that we refuse.
    Accepts,
}

use Codex::{Accepts, Agrees};

const fn row(
    name: &'static str,
    text: &'static str,
    ours: Result<&'static str, &'static str>,
    codex: Codex,
) -> Row {
    Row { name, text, ours, codex }
}

const A: &str = r#"{"default":"local","environments":[{"id":"a","kind":"stdio","connect_timeout_sec":10,"initialize_timeout_sec":10}]}"#;
const A_URL: &str = r#"{"default":"local","environments":[{"id":"a","kind":"url","connect_timeout_sec":10,"initialize_timeout_sec":10}]}"#;
const EMPTY: &str = r#"{"default":"local","environments":[]}"#;
const NOTHING: &str = r#"{"default":null,"environments":[]}"#;

/// The table. Rows that look alike differ in the one thing that they are named for.
#[rustfmt::skip] // A row is easier to read on one or two lines.
pub const FILES: &[Row] = &[
    // ---- the file as a whole
    row("an empty file", "", Ok(EMPTY), Agrees),
    row("comments only", "# nothing\n\n# more\n", Ok(EMPTY), Agrees),
    row("a byte order mark", "\u{feff}default = \"none\"\n", Ok(NOTHING), Agrees),
    row("lines that end in CRLF", "default = \"none\"\r\n[[environments]]\r\nid = \"a\"\r\n",
        Err(", line 2: environment \"a\": url or program is missing"), Agrees),
    row("not TOML", "default =\n", Err(", line 1: not TOML: string values must be quoted, expected literal string"), Agrees),
    row("a bare word", "\nhello\n", Err(", line 2: not TOML: key with no value, expected `=`"), Agrees),
    row("text without its end", "[[environments]]\nid = \"a\nprogram = \"x\"\n",
        Err(", line 2: not TOML: invalid basic string, expected `\"`"), Agrees),
    row("a key twice", "default = \"none\"\ndefault = \"none\"\n", Err(", line 2: not TOML: duplicate key"), Agrees),
    row("an unknown key", "defaults = \"none\"\n", Err(", line 1: unknown key \"defaults\""), Agrees),
    row("an unknown key that cannot be shown", "\"hunter 2\" = 1\n", Err(", line 1: unknown key"), Agrees),
    row("an unknown table", "[local]\ncwd = \"/\"\n", Err(", line 1: unknown key \"local\""), Agrees),
    row("the first unknown key is told", "zz = 1\naa = 1\n", Err(", line 1: unknown key \"zz\""), Agrees),

    // ---- environments
    row("an empty list", "environments = []\n", Ok(EMPTY), Agrees),
    row("inline tables", "environments = [{ id = \"a\", program = \"x\" }]\n", Ok(A), Agrees),
    row("one table for a list", "[environments]\nid = \"a\"\nprogram = \"x\"\n",
        Err(", line 1: environments must be tables, written [[environments]]"), Agrees),
    row("a table of tables", "[environments.a]\nprogram = \"x\"\n",
        Err(", line 1: environments must be tables, written [[environments]]"), Agrees),
    row("a list of ids", "environments = [\n  \"a\",\n]\n",
        Err(", line 2: environments must be tables, written [[environments]]"), Agrees),

    // ---- default and include_local
    row("a default", "default = \"a\"\n[[environments]]\nid = \"a\"\nprogram = \"x\"\n",
        Ok(r#"{"default":"a","environments":[{"id":"a","kind":"stdio","connect_timeout_sec":10,"initialize_timeout_sec":10}]}"#), Agrees),
    row("a default with blanks around it", "default = \" a \"\n[[environments]]\nid = \"a\"\nprogram = \"x\"\n",
        Ok(r#"{"default":"a","environments":[{"id":"a","kind":"stdio","connect_timeout_sec":10,"initialize_timeout_sec":10}]}"#), Agrees),
    row("the default none", "default = \"none\"\n", Ok(NOTHING), Agrees),
    row("the default NONE", "default = \"NoNe\"\n", Ok(NOTHING), Agrees),
    row("the default local", "default = \"local\"\n", Ok(EMPTY), Agrees),
    row("no default without local", "include_local = false\n[[environments]]\nid = \"a\"\nprogram = \"x\"\n",
        Ok(r#"{"default":null,"environments":[{"id":"a","kind":"stdio","connect_timeout_sec":10,"initialize_timeout_sec":10}]}"#), Agrees),
    row("the default local without local", "include_local = false\ndefault = \"local\"\n",
        Err(", line 2: default is \"local\", but include_local is false"), Agrees),
    row("the default LOCAL", "default = \"LOCAL\"\n", Err(", line 1: default is \"LOCAL\", but no environment is"), Agrees),
    row("an unknown default", "\ndefault = \"b\"\n[[environments]]\nid = \"a\"\nprogram = \"x\"\n",
        Err(", line 2: default is \"b\", but no environment is"), Agrees),
    row("a default that is no id", "default = \"ws://u:hunter2@h\"\n", Err(", line 1: default is not the id of an environment"), Agrees),
    row("an empty default", "default = \"\"\n", Err(", line 1: default is empty"), Agrees),
    row("a blank default", "default = \"  \"\n", Err(", line 1: default is empty"), Agrees),
    row("a default that is not text", "default = false\n", Err(", line 1: default must be text in quotes"), Agrees),
    row("include_local as text", "include_local = \"no\"\n", Err(", line 1: include_local must be true or false"), Agrees),
    row("include_local as a number", "include_local = 0\n", Err(", line 1: include_local must be true or false"), Agrees),

    // ---- ids
    row("ids of all letters", "include_local = false\n[[environments]]\nid = \"-aZ_09\"\nprogram = \"x\"\n",
        Ok(r#"{"default":null,"environments":[{"id":"-aZ_09","kind":"stdio","connect_timeout_sec":10,"initialize_timeout_sec":10}]}"#), Agrees),
    row("an id of 64 letters", "[[environments]]\nid = \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\nprogram = \"x\"\n",
        Ok(r#"{"default":"local","environments":[{"id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","kind":"stdio","connect_timeout_sec":10,"initialize_timeout_sec":10}]}"#), Agrees),
    row("an id of 65 letters", "[[environments]]\nid = \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\nprogram = \"x\"\n",
        Err(", line 2: [[environments]]: id is longer than 64 characters"), Agrees),
    row("no id", "\n[[environments]]\nprogram = \"x\"\n", Err(", line 2: [[environments]]: id is missing"), Agrees),
    row("an empty id", "[[environments]]\nid = \"\"\nprogram = \"x\"\n", Err(", line 2: [[environments]]: id is empty"), Agrees),
    row("a number as id", "[[environments]]\nid = 1\nprogram = \"x\"\n", Err(", line 2: [[environments]]: id must be text in quotes"), Agrees),
    row("an id with a dot", "[[environments]]\nid = \"a.b\"\nprogram = \"x\"\n",
        Err(", line 2: [[environments]]: id may have only ASCII letters, digits, \"-\" and \"_\""), Agrees),
    row("an id with blanks around it", "[[environments]]\nid = \" a\"\nprogram = \"x\"\n",
        Err(", line 2: [[environments]]: id may have only ASCII letters, digits, \"-\" and \"_\""), Agrees),
    row("an id beyond ASCII", "[[environments]]\nid = \"\u{e4}\"\nprogram = \"x\"\n",
        Err(", line 2: [[environments]]: id may have only ASCII letters, digits, \"-\" and \"_\""), Agrees),
    row("the id local", "[[environments]]\nid = \"local\"\nprogram = \"x\"\n",
        Err(", line 2: [[environments]]: id \"local\" has a meaning of its own: choose another"), Agrees),
    row("the id local without local", "include_local = false\n[[environments]]\nid = \"local\"\nprogram = \"x\"\n",
        Err(", line 3: [[environments]]: id \"local\" has a meaning of its own: choose another"), Agrees),
    row("the id None", "[[environments]]\nid = \"None\"\nprogram = \"x\"\n",
        Err(", line 2: [[environments]]: id \"None\" has a meaning of its own: choose another"), Agrees),
    row("the id Local", "[[environments]]\nid = \"Local\"\nprogram = \"x\"\n",
        Ok(r#"{"default":"local","environments":[{"id":"Local","kind":"stdio","connect_timeout_sec":10,"initialize_timeout_sec":10}]}"#), Agrees),
    row("an id twice", "[[environments]]\nid = \"a\"\nprogram = \"x\"\n\n[[environments]]\nid = \"a\"\nurl = \"ws://h\"\n",
        Err(", line 5: environment \"a\" is on line 1, too"), Agrees),
    row("ids that differ in case", "[[environments]]\nid = \"a\"\nprogram = \"x\"\n[[environments]]\nid = \"A\"\nurl = \"ws://h\"\n",
        Ok(r#"{"default":"local","environments":[{"id":"a","kind":"stdio","connect_timeout_sec":10,"initialize_timeout_sec":10},{"id":"A","kind":"url","connect_timeout_sec":10,"initialize_timeout_sec":10}]}"#), Agrees),

    // ---- url or program
    row("a program", "[[environments]]\nid = \"a\"\nprogram = \"x\"\n", Ok(A), Agrees),
    row("a program with blanks around it", "[[environments]]\nid = \"a\"\nprogram = \" x \"\n", Ok(A), Agrees),
    row("neither", "[[environments]]\nid = \"a\"\n", Err(", line 1: environment \"a\": url or program is missing"), Agrees),
    row("both", "[[environments]]\nid = \"a\"\nurl = \"ws://h\"\nprogram = \"x\"\n",
        Err(", line 4: environment \"a\": url and program exclude each other"), Agrees),
    row("an unknown key of an environment", "[[environments]]\nid = \"a\"\nprogram = \"x\"\nprotocol = \"bare\"\n",
        Err(", line 4: environment \"a\": unknown key \"protocol\""), Agrees),
    row("an unknown key before the id", "[[environments]]\ncommand = \"x\"\nid = \"a\"\n",
        Err(", line 2: environment \"a\": unknown key \"command\""), Agrees),
    row("an empty program", "[[environments]]\nid = \"a\"\nprogram = \" \"\n", Err(", line 3: environment \"a\": program is empty"), Agrees),
    row("a program as a list", "[[environments]]\nid = \"a\"\nprogram = [\"hunter2\"]\n",
        Err(", line 3: environment \"a\": program must be text in quotes"), Agrees),
    row("everything of a program", "[[environments]]\nid = \"a\"\nprogram = \"x\"\nargs = [\"1\", '2']\ncwd = \"b\"\n[environments.env]\nA = \"1\"\n\"B C\" = \"\"\n", Ok(A), Agrees),
    row("empty args, env and cwd", "[[environments]]\nid = \"a\"\nprogram = \"x\"\nargs = []\nenv = {}\ncwd = \"\"\n", Ok(A), Agrees),
    row("args as text", "[[environments]]\nid = \"a\"\nprogram = \"x\"\nargs = \"--token hunter2\"\n",
        Err(", line 4: environment \"a\": args must be a list of texts"), Agrees),
    row("a number in args", "[[environments]]\nid = \"a\"\nprogram = \"x\"\nargs = [\n  \"hunter2\",\n  2\n]\n",
        Err(", line 6: environment \"a\": an item of args must be text in quotes"), Agrees),
    row("env as a list", "[[environments]]\nid = \"a\"\nprogram = \"x\"\nenv = [\"TOKEN=hunter2\"]\n",
        Err(", line 4: environment \"a\": env must be a table of texts"), Agrees),
    row("a number in env", "[[environments]]\nid = \"a\"\nprogram = \"x\"\nenv.TOKEN = \"hunter2\"\nenv.PORT = 8080\n",
        Err(", line 5: environment \"a\": a value of env must be text in quotes"), Agrees),
    row("cwd as a number", "[[environments]]\nid = \"a\"\nprogram = \"x\"\ncwd = 1\n",
        Err(", line 4: environment \"a\": cwd must be text in quotes"), Agrees),
    row("args without program", "[[environments]]\nid = \"a\"\nurl = \"ws://h\"\nargs = [\"hunter2\"]\n",
        Err(", line 4: environment \"a\": args needs program"), Agrees),
    row("empty args without program", "[[environments]]\nid = \"a\"\nurl = \"ws://h\"\nargs = []\n",
        Err(", line 4: environment \"a\": args needs program"), Agrees),
    row("env without program", "[[environments]]\nid = \"a\"\nurl = \"ws://h\"\nenv = {TOKEN = \"hunter2\"}\n",
        Err(", line 4: environment \"a\": env needs program"), Agrees),
    row("cwd without program", "[[environments]]\nid = \"a\"\nurl = \"ws://h\"\ncwd = \"/\"\n",
        Err(", line 4: environment \"a\": cwd needs program"), Agrees),
    row("cwd with nothing", "[[environments]]\nid = \"a\"\ncwd = \"/\"\n",
        Err(", line 3: environment \"a\": cwd needs program"), Agrees),

    // ---- urls
    row("a url", "[[environments]]\nid = \"a\"\nurl = \"ws://127.0.0.1:8765\"\n", Ok(A_URL), Agrees),
    row("a url with blanks around it", "[[environments]]\nid = \"a\"\nurl = \" wss://u:hunter2@h:1/p?q=hunter2 \"\n", Ok(A_URL), Agrees),
    row("a url with an address of IPv6", "[[environments]]\nid = \"a\"\nurl = \"ws://[::1]:80/\"\n", Ok(A_URL), Agrees),
    row("an empty url", "[[environments]]\nid = \"a\"\nurl = \"\"\n", Err(", line 3: environment \"a\": url is empty"), Agrees),
    row("a url of http", "[[environments]]\nid = \"a\"\nurl = \"https://hunter2\"\n",
        Err(", line 3: environment \"a\": url must begin with ws:// or wss://"), Agrees),
    row("a url in capitals", "[[environments]]\nid = \"a\"\nurl = \"WS://hunter2\"\n",
        Err(", line 3: environment \"a\": url must begin with ws:// or wss://"), Agrees),
    row("a url without host", "[[environments]]\nid = \"a\"\nurl = \"ws://\"\n",
        Err(", line 3: environment \"a\": url has no host"), Agrees),
    row("a url with a path only", "[[environments]]\nid = \"a\"\nurl = \"ws:///hunter2\"\n",
        Err(", line 3: environment \"a\": url has no host"), Agrees),
    row("a url with a blank", "[[environments]]\nid = \"a\"\nurl = \"ws://h/hunter2 x\"\n",
        Err(", line 3: environment \"a\": url contains a character that must be written as %XX"), Agrees),
    row("a url with a bad character", "[[environments]]\nid = \"a\"\nurl = \"ws://h/<hunter2>\"\n",
        Err(", line 3: environment \"a\": url contains a character that must be written as %XX"), Agrees),
    row("a path beyond ASCII", "[[environments]]\nid = \"a\"\nurl = \"ws://h/\u{e4}?\u{e4}\"\n", Ok(A_URL), Agrees),
    row("a host beyond ASCII", "[[environments]]\nid = \"a\"\nurl = \"ws://\u{e4}hunter2/\"\n",
        Err(", line 3: environment \"a\": url has a host that cannot be one"), Agrees),
    row("an address without its end", "[[environments]]\nid = \"a\"\nurl = \"ws://[::1\"\n",
        Err(", line 3: environment \"a\": url has a host that cannot be one"), Agrees),
    row("user info without a host", "[[environments]]\nid = \"a\"\nurl = \"ws://hunter2@\"\n",
        Err(", line 3: environment \"a\": url has no host"), Agrees),
    row("a url as a number", "[[environments]]\nid = \"a\"\nurl = 8765\n",
        Err(", line 3: environment \"a\": url must be text in quotes"), Agrees),

    // ---- limits
    row("limits", "[[environments]]\nid = \"a\"\nurl = \"ws://h\"\nconnect_timeout_sec = 2.5\ninitialize_timeout_sec = 0x1e\n",
        Ok(r#"{"default":"local","environments":[{"id":"a","kind":"url","connect_timeout_sec":2.5,"initialize_timeout_sec":30}]}"#), Agrees),
    row("a limit of zero", "[[environments]]\nid = \"a\"\nprogram = \"x\"\ninitialize_timeout_sec = 0\n",
        Ok(r#"{"default":"local","environments":[{"id":"a","kind":"stdio","connect_timeout_sec":10,"initialize_timeout_sec":0}]}"#), Agrees),
    row("connect_timeout_sec without url", "[[environments]]\nid = \"a\"\nprogram = \"x\"\nconnect_timeout_sec = 1\n",
        Err(", line 4: environment \"a\": connect_timeout_sec needs url"), Agrees),
    row("a negative limit", "[[environments]]\nid = \"a\"\nurl = \"ws://h\"\nconnect_timeout_sec = -1\n",
        Err(", line 4: environment \"a\": connect_timeout_sec must be a number of seconds, 0 or more"), Agrees),
    row("an infinite limit", "[[environments]]\nid = \"a\"\nurl = \"ws://h\"\nconnect_timeout_sec = inf\n",
        Err(", line 4: environment \"a\": connect_timeout_sec must be a number of seconds, 0 or more"), Agrees),
    row("a limit that is no number", "[[environments]]\nid = \"a\"\nprogram = \"x\"\ninitialize_timeout_sec = nan\n",
        Err(", line 4: environment \"a\": initialize_timeout_sec must be a number of seconds, 0 or more"), Agrees),
    row("a limit beyond any clock", "[[environments]]\nid = \"a\"\nprogram = \"x\"\ninitialize_timeout_sec = 1e30\n",
        Err(", line 4: environment \"a\": initialize_timeout_sec must be a number of seconds, 0 or more"), Agrees),
    row("a limit as text", "[[environments]]\nid = \"a\"\nprogram = \"x\"\ninitialize_timeout_sec = \"10s\"\n",
        Err(", line 4: environment \"a\": initialize_timeout_sec must be a number of seconds, 0 or more"), Agrees),
    row("a date as a limit", "[[environments]]\nid = \"a\"\nprogram = \"x\"\ninitialize_timeout_sec = 2026-01-01\n",
        Err(", line 4: environment \"a\": initialize_timeout_sec must be a number of seconds, 0 or more"), Agrees),

    // ---- what codex takes and we do not
    row("a url with a port only", "[[environments]]\nid = \"a\"\nurl = \"ws://:80/hunter2\"\n",
        Err(", line 3: environment \"a\": url has no host"), Accepts),
    row("a token in the file", "[[environments]]\nid = \"a\"\nurl = \"wss://h\"\nauth_bearer_token = \"hunter2\"\n",
        Err(", line 4: environment \"a\": auth_bearer_token is not read here: set LEASH_OPT_BEARER"), Accepts),
    row("skills", "[[environments]]\nid = \"a\"\nprogram = \"x\"\nskills = []\n",
        Err(", line 4: environment \"a\": skills is codex's own: give libleash a file without it"), Accepts),
    row("a NUL in program", "[[environments]]\nid = \"a\"\nprogram = \"x\\u0000hunter2\"\n",
        Err(", line 3: environment \"a\": program contains a NUL"), Accepts),
    row("a NUL in args", "[[environments]]\nid = \"a\"\nprogram = \"x\"\nargs = [\"hunter2\\u0000\"]\n",
        Err(", line 4: environment \"a\": an item of args contains a NUL"), Accepts),
    row("a NUL in env", "[[environments]]\nid = \"a\"\nprogram = \"x\"\nenv = {A = \"hunter2\\u0000\"}\n",
        Err(", line 4: environment \"a\": a value of env contains a NUL"), Accepts),
    row("a variable without name", "[[environments]]\nid = \"a\"\nprogram = \"x\"\n[environments.env]\n\"\" = \"hunter2\"\n",
        Err(", line 5: environment \"a\": env has a name that is empty, or contains \"=\" or a NUL"), Accepts),
    row("a variable with = in its name", "[[environments]]\nid = \"a\"\nprogram = \"x\"\nenv = {\"A=hunter2\" = \"\"}\n",
        Err(", line 4: environment \"a\": env has a name that is empty, or contains \"=\" or a NUL"), Accepts),
];
