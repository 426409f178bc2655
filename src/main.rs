//! The `cloakroom` binary: arguments to configuration, configuration to a running server.

use std::io::{Read, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args, Parser, Subcommand};
use cloakroom::base::allocator::Counting;
use cloakroom::config::{ConfigFile, Source, load, read_files};
use cloakroom::maintenance::{KeyOptions, check, rekey};
use cloakroom::server::{Launch, run};
use cloakroom::transfer::{
    Address, Destination, ExportOptions, ImportOptions, Source as Origin, export, import,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The name of standard input among the arguments, as in redis-server.
const STDIN: &str = "-";
const STDIN_BYTES_MAX: u64 = 16 << 20;

/// An external session cache that speaks the Redis protocol.
#[derive(Parser)]
#[command(
    version,
    disable_version_flag = true,
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = true,
    override_usage = "cloakroom [CONFIG-FILE | -] [--DIRECTIVE VALUE...]...\n       cloakroom check-config [CONFIG-FILE | -] [--DIRECTIVE VALUE...]...\n       cloakroom import FILE.rdb|redis://HOST [--to redis://HOST | --dir DIR]\n       cloakroom export FILE.rdb [--from redis://HOST]\n       cloakroom check [--fix] DIRECTORY\n       cloakroom rekey DIRECTORY",
    after_help = "Examples:\n  cloakroom\n  cloakroom /etc/cloakroom.conf --port 7000\n  cloakroom --port 7000 --save '' --loglevel warning\n  echo 'maxmemory 1gb' | cloakroom -\n\n\
        Directives are those of redis.conf. Each one, with its default: docs/config.md"
)]
struct Arguments {
    /// Print the version
    #[arg(short = 'v', long, action = ArgAction::Version)]
    version: Option<bool>,

    #[command(subcommand)]
    command: Option<Command>,

    /// A configuration file, or - for standard input; then directives, which override the file
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "CONFIGURATION")]
    configuration: Vec<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Read the configuration, say what is wrong with it, and end: with status 0 if a server would start from it
    CheckConfig {
        /// As for starting the server
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "CONFIGURATION")]
        configuration: Vec<String>,
    },
    /// Bring sessions from an RDB file or a running Redis into a running server; what is interrupted goes on when it is called again
    Import(ImportArguments),
    /// Write the sessions of a running server into an RDB file that Redis and Valkey load
    Export(ExportArguments),
    /// Read the data directory of a server that does not run, load it for trial, say what is in it and where it is damaged, and end: with
    /// status 0 if it is sound
    Check {
        /// Cut the write log where it is damaged or torn, and drop what follows; says what is lost
        #[arg(long)]
        fix: bool,
        /// The data directory (dir)
        directory: PathBuf,
        #[command(flatten)]
        key: KeyArguments,
    },
    /// Write the data of a server that does not run anew, with another key; without an old or a new key from or to no encryption
    Rekey {
        /// The data directory (dir)
        directory: PathBuf,
        #[command(flatten)]
        key: KeyArguments,
        #[command(flatten)]
        new_key: NewKeyArguments,
    },
}

#[derive(Args)]
struct ImportArguments {
    /// An RDB file, or redis://[[user]:password@]host[:port][/database]
    source: Origin,
    /// The server that receives; a database in the address takes everything
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_SERVER)]
    to: Address,
    /// Put it into an empty data directory instead, for a server that starts later
    #[arg(long, conflicts_with = "to")]
    dir: Option<PathBuf>,
    /// The most keys a second
    #[arg(long, value_name = "KEYS", default_value_t = 0, hide_default_value = true)]
    rate: u32,
    /// Where the progress is kept until the end [default: next to the file, or in the working directory]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Do not compare everything at the end
    #[arg(long)]
    no_check: bool,
}

#[derive(Args)]
struct ExportArguments {
    /// The RDB file to write; it appears when it is complete
    file: PathBuf,
    /// The server to read from
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_SERVER)]
    from: Address,
    /// The most keys a second
    #[arg(long, value_name = "KEYS", default_value_t = 0, hide_default_value = true)]
    rate: u32,
}

const DEFAULT_SERVER: &str = "redis://127.0.0.1:6379";

impl From<ImportArguments> for ImportOptions {
    fn from(arguments: ImportArguments) -> ImportOptions {
        let into = arguments.dir.map_or(Destination::Server(arguments.to), Destination::Directory);
        let ImportArguments { source, rate, state, no_check, .. } = arguments;
        ImportOptions { source, into, rate, state, check: !no_check }
    }
}

/// Where the key is that the data are encrypted with, as the directives of these names say it to the server.
#[derive(Args)]
struct KeyArguments {
    /// The file that has the key
    #[arg(long, value_name = "FILE", default_value = "")]
    encryption_key_file: String,
    /// The environment variable that has the key
    #[arg(long, value_name = "NAME", default_value = "")]
    encryption_key_env: String,
    /// The command that prints the key
    #[arg(long, value_name = "COMMAND", default_value = "")]
    encryption_key_command: String,
    /// Read what was written without the key, too
    #[arg(long)]
    encryption_accept_plaintext: bool,
}

/// Where the key is that the data are to be encrypted with.
#[derive(Args)]
struct NewKeyArguments {
    /// The file that has the new key
    #[arg(long, value_name = "FILE", default_value = "")]
    new_encryption_key_file: String,
    /// The environment variable that has the new key
    #[arg(long, value_name = "NAME", default_value = "")]
    new_encryption_key_env: String,
    /// The command that prints the new key
    #[arg(long, value_name = "COMMAND", default_value = "")]
    new_encryption_key_command: String,
}

impl KeyArguments {
    fn options(&self) -> KeyOptions<'_> {
        KeyOptions {
            file: &self.encryption_key_file,
            environment: &self.encryption_key_env,
            command: &self.encryption_key_command,
            accept_plaintext: self.encryption_accept_plaintext,
        }
    }
}

impl NewKeyArguments {
    fn options(&self) -> KeyOptions<'_> {
        KeyOptions {
            file: &self.new_encryption_key_file,
            environment: &self.new_encryption_key_env,
            command: &self.new_encryption_key_command,
            accept_plaintext: false,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Some(Command::CheckConfig { configuration }) => check_config(configuration),
        Some(Command::Import(arguments)) => import(&arguments.into()).map_err(|error| error.to_string()),
        Some(Command::Export(ExportArguments { file, from, rate })) => {
            export(&ExportOptions { file, from, rate }).map_err(|error| error.to_string())
        }
        Some(Command::Check { fix, directory, key }) => {
            check(&directory, &key.options(), fix, &mut stdout()).map_err(|error| error.to_string())
        }
        Some(Command::Rekey { directory, key, new_key }) => {
            rekey(&directory, &key.options(), &new_key.options(), &mut stdout())
                .map_err(|error| error.to_string())
        }
        None => {
            launch(arguments.configuration).and_then(|launch| run(launch).map_err(|error| error.to_string()))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cloakroom: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check_config(configuration: Vec<String>) -> Result<(), String> {
    let launch = launch(configuration)?;
    let loaded = load(&launch.sources, &mut |path| read_files(path)).map_err(|error| error.to_string())?;
    for warning in &loaded.warnings {
        println!("warning: {warning}");
    }
    println!("The configuration is good.");
    Ok(())
}

/// Finds the sources of the configuration among the arguments: a file if the first is a path, standard input for `-` as the first or
/// the last, and directives.
fn launch(mut arguments: Vec<String>) -> Result<Launch, String> {
    let mut sources = Vec::new();
    let mut file = None;
    if arguments.first().is_some_and(|first| !first.starts_with('-')) {
        let path = arguments.remove(0);
        file = Some(absolute(&path)?);
        sources.push(Source::File(path));
    }
    let from_stdin = if arguments.first().is_some_and(|first| first == STDIN) {
        arguments.remove(0);
        true
    } else {
        arguments.pop_if(|last| last == STDIN).is_some()
    };
    if from_stdin {
        sources.push(Source::Text(read_stdin()?));
    }
    sources.push(Source::Arguments(arguments));
    Ok(Launch { sources, file })
}

fn absolute(path: &str) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("can't open config file '{path}': {error}"))
}

fn read_stdin() -> Result<ConfigFile, String> {
    let mut text = Vec::new();
    std::io::stdin()
        .take(STDIN_BYTES_MAX)
        .read_to_end(&mut text)
        .map_err(|error| format!("can't read the configuration from standard input: {error}"))?;
    Ok(ConfigFile { name: String::from("standard input"), text })
}
