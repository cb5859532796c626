//! Where a program may be: execvp(3)'s rule, worked out before the clone.

use std::ffi::{CStr, CString};

/// What is searched when the environment has no PATH.
const DEFAULT: &[u8] = b"/bin:/usr/bin";

/// The paths to try for `program`, in this order. A name with a slash is one
/// itself; relative ones count from the server's working directory.
pub fn candidates(program: &CStr, env: &[CString]) -> Vec<CString> {
    let name = program.to_bytes();
    if name.is_empty() || name.contains(&b'/') {
        return vec![program.to_owned()];
    }
    let path = env.iter().find_map(|entry| value(entry, b"PATH"));
    path.unwrap_or(DEFAULT).split(|byte| *byte == b':').map(|folder| join(folder, name)).collect()
}

/// The value, if `entry` is `name=value`.
pub fn value<'e>(entry: &'e CStr, name: &[u8]) -> Option<&'e [u8]> {
    entry.to_bytes().strip_prefix(name)?.strip_prefix(b"=")
}

/// The empty entry is the working directory.
fn join(folder: &[u8], name: &[u8]) -> CString {
    let folder = if folder.is_empty() { b"." } else { folder };
    CString::new([folder, b"/", name].concat()).expect("parts of C strings hold no NUL")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(program: &CStr, env: &[&CStr]) -> Vec<String> {
        let env: Vec<CString> = env.iter().map(|entry| CString::from(*entry)).collect();
        candidates(program, &env).into_iter().map(|path| path.into_string().unwrap()).collect()
    }

    #[test]
    fn every_folder_of_path_is_tried_in_order() {
        let env = [c"HOME=/root", c"PATH=/a:/b/c", c"PATH=/late"];
        assert_eq!(paths(c"x", &env), ["/a/x", "/b/c/x"]);
    }

    #[test]
    fn an_empty_or_relative_entry_counts_from_the_working_directory() {
        assert_eq!(paths(c"x", &[c"PATH=:bin:"]), ["./x", "bin/x", "./x"]);
        assert_eq!(paths(c"x", &[c"PATH="]), ["./x"]);
    }

    #[test]
    fn without_path_the_system_folders_are_tried() {
        assert_eq!(paths(c"x", &[c"PATHS=/a"]), ["/bin/x", "/usr/bin/x"]);
    }

    #[test]
    fn a_name_with_a_slash_is_not_looked_up() {
        assert_eq!(paths(c"./x", &[c"PATH=/a"]), ["./x"]);
        assert_eq!(paths(c"/x", &[c"PATH=/a"]), ["/x"]);
        assert_eq!(paths(c"", &[c"PATH=/a"]), [""]);
    }
}
