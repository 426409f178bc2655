//! Reading configuration: files in the syntax of redis.conf, text from standard input, command-line
//! arguments.
//!
//! Owns the order in which sources apply (later ones win), `include`, and errors that name file and line. How
//! a file is read is passed in, so that tests need no files. What a directive accepts is in its row.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::directives::{self, Effect};
use super::kind::{Kind, ValueError};
use super::value::Value;
use super::{Config, words};
use crate::base::glob;

/// How deep files may include files; a file that includes itself reaches it.
const INCLUDE_DEPTH_MAX: usize = 16;
/// What editors of other systems put in front of a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Lines of Redis that would be unsafe to ignore and are no directives with a value; `Effect::Refused` has those that are.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("user", "ACL users do not exist yet, remove the line and use 'requirepass'"),
    ("rename-command", "commands cannot be renamed"),
    ("loadmodule", "modules cannot be loaded"),
    ("sentinel", "there is no sentinel mode"),
];

/// Rules that say of a user of Redis 6 to 8 nothing but that it may do everything without a password.
const OPEN_USER_RULES: &[&str] = &[
    "on",
    "nopass",
    "sanitize-payload",
    "skip-sanitize-payload",
    "~*",
    "allkeys",
    "&*",
    "allchannels",
    "+@all",
    "allcommands",
];

/// Whether a `user` line says of the default user what is so without it, as CONFIG REWRITE of Redis writes for whoever has no users of his own.
fn is_open_default_user(values: &[&[u8]]) -> bool {
    let Some((b"default", rules)) = values.split_first().map(|(name, rules)| (*name, rules)) else {
        return false;
    };
    let has = |wanted: &[&str]| {
        rules.iter().any(|rule| wanted.iter().any(|known| rule.eq_ignore_ascii_case(known.as_bytes())))
    };
    let whole = [&["on"][..], &["nopass"], &["~*", "allkeys"], &["+@all", "allcommands"]];
    rules.iter().all(|rule| OPEN_USER_RULES.iter().any(|known| rule.eq_ignore_ascii_case(known.as_bytes())))
        && whole.into_iter().all(has)
}

/// One place that configuration comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A path, to be read.
    File(String),
    /// Text that was read already, such as standard input.
    Text(ConfigFile),
    /// Arguments as redis-server takes them: `--name value...`.
    Arguments(Vec<String>),
}

/// A configuration file's name, for messages, and its text.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// path, or what stands for it
    pub name: String,
    /// content
    pub text: Vec<u8>,
}

/// What all sources together say.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// the configuration
    pub config: Config,
    /// directives that were set to something but have no effect, each once
    pub warnings: Vec<Warning>,
}

/// A directive without effect was set to something else than its default, or is one of another server. `Display` writes one line for the
/// log.
#[derive(Clone, Debug, PartialEq)]
pub struct Warning {
    /// where
    pub place: Place,
    /// the directive, in lower case
    pub name: String,
    /// why it has no effect
    pub reason: &'static str,
}

/// A file and a line in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// file, or `command line`
    pub file: String,
    /// counted from 1; `None` where lines have no numbers
    pub line: Option<usize>,
}

/// Why configuration could not be read. `Display` writes one line without trailing newline.
#[derive(Debug)]
pub enum LoadError {
    /// A file cannot be read.
    Unreadable {
        /// its path
        file: String,
        /// what the system said
        error: io::Error,
    },
    /// A line is wrong.
    Line {
        /// where
        place: Place,
        /// the line, unless its value is secret
        line: String,
        /// why
        reason: LineError,
    },
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq)]
pub enum LineError {
    /// quotes do not match
    UnbalancedQuotes,
    /// no directive has that name
    UnknownDirective(String),
    /// `include` without exactly one path
    IncludeWordCount,
    /// files include each other
    IncludeTooDeep,
    /// a directive of Redis that must not be ignored
    Unsupported(&'static str),
    /// not a value of the directive
    Value(ValueError),
}

/// Applies `sources` in order to the defaults. `read` returns the files of a path, which may be a glob in
/// `include`; [`read_files`] is the usual one.
///
/// # Errors
/// At the first line that is wrong and the first file that cannot be read.
pub fn load(
    sources: &[Source],
    read: &mut dyn FnMut(&str) -> io::Result<Vec<ConfigFile>>,
) -> Result<Loaded, LoadError> {
    let mut loader = Loader { config: Config::default(), warnings: Vec::new(), saw_save: false, read };
    for source in sources {
        match source {
            Source::File(path) => loader.files(path, 0)?,
            Source::Text(file) => loader.text(file, 0)?,
            Source::Arguments(arguments) => loader.arguments(arguments)?,
        }
    }
    Ok(Loaded { config: loader.config, warnings: loader.warnings })
}

/// Reads the file at `path`. The last part of the path may be a glob; then all files that match are read, in
/// the order of their names, and none is no error.
///
/// # Errors
/// When a file or the directory of a glob cannot be read, or a file is longer than 16 MiB.
pub fn read_files(path: &str) -> io::Result<Vec<ConfigFile>> {
    let path = Path::new(path);
    let is_glob = |name: &str| name.contains(['*', '?', '[']);
    let Some(pattern) = path.file_name().and_then(|name| name.to_str()).filter(|name| is_glob(name)) else {
        return Ok(vec![read_file(path)?]);
    };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if glob::matches(pattern.as_bytes(), entry.file_name().as_encoded_bytes(), false) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    paths.iter().map(|path| read_file(path)).collect()
}

fn read_file(path: &Path) -> io::Result<ConfigFile> {
    let mut text = Vec::new();
    let length = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)? as u64;
    if length > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than 16 MiB"));
    }
    Ok(ConfigFile { name: path.display().to_string(), text })
}

struct Loader<'a> {
    config: Config,
    warnings: Vec<Warning>,
    /// The first `save` replaces the default save points, later ones add to it.
    saw_save: bool,
    read: &'a mut dyn FnMut(&str) -> io::Result<Vec<ConfigFile>>,
}

impl Loader<'_> {
    fn files(&mut self, path: &str, depth: usize) -> Result<(), LoadError> {
        let files =
            (self.read)(path).map_err(|error| LoadError::Unreadable { file: path.to_string(), error })?;
        for file in &files {
            self.text(file, depth)?;
        }
        Ok(())
    }

    fn text(&mut self, file: &ConfigFile, depth: usize) -> Result<(), LoadError> {
        let text = file.text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&file.text);
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let place = Place { file: file.name.clone(), line: Some(index + 1) };
            let shown = || String::from_utf8_lossy(line).into_owned();
            match words::split(line) {
                Ok(words) => self.line(&words, place, &shown(), depth)?,
                Err(words::UnbalancedQuotes) => {
                    let line = hide_secret(line.split(|&byte| words::is_space(byte)).next(), shown());
                    return Err(LoadError::Line { place, line, reason: LineError::UnbalancedQuotes });
                }
            }
        }
        Ok(())
    }

    /// As redis-server: `--name` starts an option and what follows are its values; the first value may itself
    /// start with `--`, except after `--save`, which may stand alone and then saves never. `"--name value"`
    /// may be one argument. Words before the first option are a line of their own.
    fn arguments(&mut self, arguments: &[String]) -> Result<(), LoadError> {
        let mut options: Vec<Vec<Vec<u8>>> = Vec::new();
        let mut wants_value = false;
        for argument in arguments {
            let ends_bare_save = options.last().is_some_and(|option| is_bare_save(option));
            let starts_option = argument.starts_with("--") && (!wants_value || ends_bare_save);
            match options.last_mut() {
                Some(option) if !starts_option => {
                    option.push(argument.clone().into_bytes());
                    wants_value = false;
                }
                None if !starts_option => options.push(vec![argument.clone().into_bytes()]),
                _ => {
                    let option =
                        words::split(&argument.as_bytes()[2..]).map_err(|words::UnbalancedQuotes| {
                            argument_error(argument, LineError::UnbalancedQuotes)
                        })?;
                    wants_value = option.len() < 2;
                    options.push(option);
                }
            }
        }
        for option in options {
            let place = Place { file: "command line".to_string(), line: None };
            self.line(&option, place, &shown_option(&option), 0)?;
        }
        Ok(())
    }

    fn line(&mut self, line: &[Vec<u8>], place: Place, shown: &str, depth: usize) -> Result<(), LoadError> {
        let Some((name, values)) = line.split_first() else { return Ok(()) };
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let applied = if name.eq_ignore_ascii_case(b"include") {
            match values.as_slice() {
                [_] if depth == INCLUDE_DEPTH_MAX => Err(LineError::IncludeTooDeep),
                [path] => return self.files(&String::from_utf8_lossy(path), depth + 1),
                _ => Err(LineError::IncludeWordCount),
            }
        } else {
            self.directive(name, &values, &place)
        };
        applied.map_err(|reason| LoadError::Line {
            place,
            line: hide_secret(Some(name), shown.to_string()),
            reason,
        })
    }

    fn directive(&mut self, name: &[u8], values: &[&[u8]], place: &Place) -> Result<(), LineError> {
        let Some((directive, spelled)) = directives::find(name) else {
            if let Some(reason) = directives::foreign::reason(name) {
                let name = String::from_utf8_lossy(name).to_ascii_lowercase();
                self.warn(place, name, reason);
                return Ok(());
            }
            if name.eq_ignore_ascii_case(b"user") && is_open_default_user(values) {
                return Ok(());
            }
            let name = String::from_utf8_lossy(name).into_owned();
            let unsupported = UNSUPPORTED.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
            return Err(match unsupported {
                Some((_, reason)) => LineError::Unsupported(reason),
                None => LineError::UnknownDirective(name),
            });
        };
        // Without any value, `save` saves never and the shutdown options have a sentence of their own; for the
        // others there is nothing to parse.
        if values.is_empty() && !matches!(directive.kind, Kind::SavePoints | Kind::ShutdownOptions) {
            return Err(LineError::Value(ValueError::WordCount));
        }
        let before = directive.value(&self.config);
        directive.assign(&mut self.config, values).map_err(LineError::Value)?;
        if directive.kind == Kind::SavePoints {
            self.add_to_earlier_save_points(before);
        }
        if let Effect::None { reason } = directive.effect
            && directive.value(&self.config) != directive.default_value()
        {
            self.warn(place, spelled.to_owned(), reason);
        }
        Ok(())
    }

    /// Notes a directive without effect, the first time that it comes.
    fn warn(&mut self, place: &Place, name: String, reason: &'static str) {
        if self.warnings.iter().all(|warning| warning.name != name) {
            self.warnings.push(Warning { place: place.clone(), name, reason });
        }
    }

    /// Save points add up over lines, but the first line replaces the default, and an empty one those before
    /// it.
    fn add_to_earlier_save_points(&mut self, before: Value) {
        if let Value::SavePoints(mut points) = before
            && self.saw_save
            && !self.config.save.is_empty()
        {
            points.append(&mut self.config.save);
            self.config.save = points;
        }
        self.saw_save = true;
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: '{}' has no effect: {}", self.place, self.name, self.reason)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "{}, line {line}", self.file),
            None => write!(out, "{}", self.file),
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Unreadable { file, error } => {
                write!(out, "can't open config file '{file}': {error}")
            }
            LoadError::Line { place, line, reason } => write!(out, "{place}: '{line}': {reason}"),
        }
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineError::UnbalancedQuotes => write!(out, "Unbalanced quotes in configuration line"),
            LineError::UnknownDirective(name) => {
                write!(out, "Bad directive or wrong number of arguments: there is no directive '{name}'")
            }
            LineError::IncludeWordCount => write!(out, "include takes one path"),
            LineError::IncludeTooDeep => write!(out, "files include each other more than 16 deep"),
            LineError::Unsupported(reason) => write!(out, "not supported: {reason}"),
            LineError::Value(error) => write!(out, "{error}"),
        }
    }
}

impl std::error::Error for LoadError {}

fn is_bare_save(option: &[Vec<u8>]) -> bool {
    matches!(option, [name] if name.eq_ignore_ascii_case(b"save"))
}

/// An option as the line that it stands for, in the form in which redis-server shows it: `port "1" "2"`.
fn shown_option(option: &[Vec<u8>]) -> String {
    let Some((name, values)) = option.split_first() else { return String::new() };
    let mut shown = String::from_utf8_lossy(name).into_owned();
    for value in values {
        shown.push(' ');
        shown.push_str(&words::quote(value));
    }
    shown
}

fn argument_error(argument: &str, reason: LineError) -> LoadError {
    let place = Place { file: "command line".to_string(), line: None };
    let name = argument.trim_start_matches('-').split_ascii_whitespace().next().unwrap_or_default();
    LoadError::Line { place, line: hide_secret(Some(name.as_bytes()), argument.to_string()), reason }
}

/// The line for a message, without what must not be logged.
fn hide_secret(name: Option<&[u8]>, shown: String) -> String {
    match name.and_then(directives::find) {
        Some((directive, spelled)) if directive.is_secret => format!("{spelled} (redacted)"),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Source {
        Source::Text(ConfigFile { name: "a.conf".to_string(), text: text.as_bytes().to_vec() })
    }

    fn arguments(words: &[&str]) -> Source {
        Source::Arguments(words.iter().map(|word| word.to_string()).collect())
    }

    fn loaded(sources: &[Source]) -> Config {
        load(sources, &mut |_| Ok(Vec::new())).expect("test configuration").config
    }

    fn error(source: Source) -> String {
        let missing = |_: &str| Err(io::Error::new(io::ErrorKind::NotFound, "no such file"));
        load(&[source], &mut { missing }).expect_err("test configuration").to_string()
    }

    fn saves(sources: &[Source]) -> String {
        let answer = loaded(sources).get(&[b"save"]);
        String::from_utf8(answer[0].1.clone()).expect("text")
    }

    #[test]
    fn later_sources_win() {
        let config = loaded(&[
            file("# c\n  port 7000\r\nLOGLEVEL Warning\n\nrequirepass \"a b\\x01\"\nsave 5 6\n"),
            arguments(&["--port", "7001", "--appendonly", "yes", "--save", ""]),
        ]);
        assert_eq!(config.port, 7001);
        assert_eq!(config.loglevel.as_str(), "warning");
        assert_eq!(config.requirepass, b"a b\x01");
        assert!(config.appendonly);
        assert!(config.save.is_empty());
    }

    #[test]
    fn arguments_are_taken_as_redis_server_takes_them() {
        assert_eq!(
            saves(&[arguments(&["--save", "3600", "1", "300", "100", "--port", "1"])]),
            "3600 1 300 100"
        );
        assert_eq!(saves(&[arguments(&["--save", "1 2 3 4"])]), "1 2 3 4");
        assert_eq!(saves(&[arguments(&["--save 5 6"])]), "5 6");
        assert_eq!(saves(&[arguments(&["--save", "1", "2", "--save", "3", "4"])]), "1 2 3 4");
        assert_eq!(saves(&[arguments(&["--save"])]), "");
        assert_eq!(saves(&[arguments(&["--save", "--port", "7"])]), "");
        assert_eq!(loaded(&[arguments(&["--save", "--port", "7"])]).port, 7);
        assert_eq!(loaded(&[arguments(&["--requirepass", "--secret"])]).requirepass, b"--secret");
        assert_eq!(loaded(&[arguments(&["--bind", "127.0.0.1", "::1"])]).bind, ["127.0.0.1", "::1"]);
        assert_eq!(
            error(arguments(&["--port", "--port", "23005"])),
            "command line: 'port \"--port\" \"23005\"': wrong number of arguments"
        );
        assert_eq!(error(arguments(&["--port"])), "command line: 'port': wrong number of arguments");
        let config = loaded(&[arguments(&["port", "7", "--maxmemory '1mb'"])]);
        assert_eq!((config.port, config.maxmemory), (7, 1 << 20));
        let options = "argument(s) must be one of the following: default, save, nosave, now, force";
        assert_eq!(
            error(arguments(&["--shutdown-on-sigint"])),
            format!("command line: 'shutdown-on-sigint': {options}")
        );
    }

    #[test]
    fn save_lines_add_up_and_an_empty_one_starts_again() {
        assert_eq!(saves(&[file("port 1\n")]), "3600 1 300 100 60 10000");
        assert_eq!(saves(&[file("save\n")]), "");
        let lines = "save 5 6\nsave \"\"\nsave 7 8 9 10\nsave \"11 12\"";
        assert_eq!(saves(&[file(lines)]), "7 8 9 10 11 12");
        assert_eq!(saves(&[file("save 5 6"), arguments(&["--save", "9", "10"])]), "5 6 9 10");
    }

    #[test]
    fn output_limits_of_one_class_leave_the_others() {
        let config = loaded(&[file("client-output-buffer-limit replica 1gb 2 3\n")]);
        let answer = config.get(&[b"client-output-buffer-limit"]);
        assert_eq!(answer[0].1, b"normal 0 0 0 slave 1073741824 2 3 pubsub 33554432 8388608 60");
    }

    #[test]
    fn errors_name_file_and_line() {
        for (text, expected) in [
            (
                "port 1\nnosuch 5",
                "a.conf, line 2: 'nosuch 5': Bad directive or wrong number of arguments: there is no directive 'nosuch'",
            ),
            ("\n#\nmaxmemory abc", "a.conf, line 3: 'maxmemory abc': argument must be a memory value"),
            ("port \"5", "a.conf, line 1: 'port \"5': Unbalanced quotes in configuration line"),
            ("port 5 6", "a.conf, line 1: 'port 5 6': wrong number of arguments"),
            ("port", "a.conf, line 1: 'port': wrong number of arguments"),
            ("save 3", "a.conf, line 1: 'save 3': Invalid save parameters"),
            (
                "timeout 99999999999",
                "a.conf, line 1: 'timeout 99999999999': argument must be between 0 and 2147483647 inclusive",
            ),
            ("appendfilename \"\"", "a.conf, line 1: 'appendfilename \"\"': appendfilename can't be empty"),
            (
                "dbfilename a/b",
                "a.conf, line 1: 'dbfilename a/b': dbfilename can't be a path, just a filename",
            ),
            (
                "requirepass secret word",
                "a.conf, line 1: 'requirepass (redacted)': wrong number of arguments",
            ),
            (
                "requirepass \"secret",
                "a.conf, line 1: 'requirepass (redacted)': Unbalanced quotes in configuration line",
            ),
            ("include x", "can't open config file 'x': no such file"),
            ("include", "a.conf, line 1: 'include': include takes one path"),
            (
                "rename-command a b",
                "a.conf, line 1: 'rename-command a b': not supported: commands cannot be renamed",
            ),
        ] {
            assert_eq!(error(file(text)), expected);
        }
    }

    #[test]
    fn included_files_apply_where_they_stand() {
        let mut read = |path: &str| {
            let text = format!("hz {}\ntimeout 3\n", path.len());
            Ok(vec![ConfigFile { name: path.to_string(), text: text.into_bytes() }])
        };
        let loaded =
            load(&[file("hz 1\ntimeout 1\ninclude abcd\ntimeout 2\n")], &mut read).expect("two files");
        assert_eq!((loaded.config.hz, loaded.config.timeout), (4, 2));
        let mut read_itself =
            |path: &str| Ok(vec![ConfigFile { name: path.to_string(), text: b"include me".to_vec() }]);
        let failed = load(&[Source::File("me".to_string())], &mut read_itself).expect_err("endless");
        assert_eq!(
            failed.to_string(),
            "me, line 1: 'include me': files include each other more than 16 deep"
        );
    }

    #[test]
    fn directives_without_effect_warn_when_they_are_not_the_default() {
        let text =
            "activedefrag no\nactivedefrag yes\nslave-read-only no\nLua-Replicate-Commands yes\nport 5\n";
        let loaded = load(&[file(text)], &mut |_| Ok(Vec::new())).expect("known directives");
        let shown: Vec<String> = loaded.warnings.iter().map(Warning::to_string).collect();
        assert_eq!(shown.len(), 3);
        assert!(shown[0].starts_with("a.conf, line 2: 'activedefrag' has no effect: "), "{}", shown[0]);
        assert!(shown[1].starts_with("a.conf, line 3: 'slave-read-only' has no effect: "), "{}", shown[1]);
        assert!(
            shown[2].starts_with("a.conf, line 4: 'lua-replicate-commands' has no effect: "),
            "{}",
            shown[2]
        );
        assert_eq!(loaded.config.get(&[b"activedefrag"]), [("activedefrag".to_owned(), b"yes".to_vec())]);
    }

    #[test]
    fn each_directive_without_effect_warns_once() {
        let text = "rename-nothing";
        assert!(error(file(text)).contains("there is no directive"));
        let text = "ts-encoding a\nts-encoding b\nactivedefrag yes\nactivedefrag yes\n";
        assert_eq!(load(&[file(text)], &mut |_| Ok(Vec::new())).expect("known directives").warnings.len(), 2);
    }

    #[test]
    fn what_restricts_access_and_is_not_there_stops_the_start() {
        for (text, expected) in [
            ("aclfile /etc/redis/users.acl", "ACL users do not exist yet"),
            ("user default off", "ACL users do not exist yet"),
            ("user default on nopass ~* &*", "ACL users do not exist yet"),
            ("user default on nopass ~a:* &* +@all", "ACL users do not exist yet"),
            ("user default on nopass ~* &* +@all -keys", "ACL users do not exist yet"),
            ("user other on nopass ~* &* +@all", "ACL users do not exist yet"),
            ("tls-port 6380", "There is no TLS yet"),
            ("rename-command FLUSHALL \"\"", "commands cannot be renamed"),
        ] {
            let error = error(file(text));
            assert!(error.contains(expected), "{error}");
        }
        loaded(&[file("aclfile \"\"\ntls-port 0\n")]);
        // What CONFIG REWRITE of Redis writes for a server without users.
        loaded(&[file(
            "user default on nopass ~* &* +@all\nuser default on sanitize-payload nopass ~* &* +@all\n",
        )]);
    }

    #[test]
    fn a_byte_order_mark_in_front_of_a_file_is_passed_over() {
        assert_eq!(loaded(&[file("\u{feff}port 7000\n")]).port, 7000);
    }

    #[test]
    fn a_glob_reads_files_in_order() {
        let directory = std::env::temp_dir().join(format!("cloakroom-config-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("temporary directory");
        for (name, text) in [("b.conf", "hz 2"), ("a.conf", "hz 1"), ("c.txt", "nosuch")] {
            std::fs::write(directory.join(name), text).expect("temporary file");
        }
        let pattern = directory.join("*.conf").display().to_string();
        let loaded = load(&[Source::File(pattern)], &mut read_files);
        std::fs::remove_dir_all(&directory).expect("temporary directory");
        assert_eq!(loaded.expect("two files").config.hz, 2);
    }
}
