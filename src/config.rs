//! Arguments, environment and settings file, checked once into real types.
//!
//! Where a value comes from: an argument, else the environment, else `monitor.toml`, else the
//! default. Only this file reads the environment.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::access::address::{
    ClientAddressHeader, ParseTrustedError, ProxyPolicy, parse_trusted, private_networks,
};
use crate::access::hosts::{HostName, Origin};
use crate::access::setup::SetupFrom;
use crate::access::tls_setting::LONGEST_TRIAL;

/// The port of the dashboard.
pub const PORT: u16 = 8008;

/// Where things lie; accepted after any command.
#[derive(Args, Clone, Debug, Default)]
pub struct Places {
    /// Directory of the state: `auth.json`, the avatar, `monitor.toml`
    #[arg(long, global = true, env = "PROXMENUX_CONFIG_DIR", value_name = "DIR")]
    pub config_dir: Option<PathBuf>,
    /// Directory of what the Monitor keeps for itself: penalties, audit records
    #[arg(long, global = true, env = "PROXMENUX_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Settings file
    #[arg(long, global = true, env = "PROXMENUX_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Audit log, which Fail2Ban reads
    #[arg(long, global = true, env = "PROXMENUX_AUTH_LOG", value_name = "FILE")]
    pub auth_log: Option<PathBuf>,
    /// TLS setting
    #[arg(long, global = true, env = "PROXMENUX_SSL_CONFIG", value_name = "FILE")]
    pub ssl_config: Option<PathBuf>,
}

/// How the server runs.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArguments {
    /// Address and port to listen on, repeatable; port 0 picks one; without it every address at 8008
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Vec<ListenAddress>,
    /// Network of proxies whose word on the client's address is taken; replaces the default, loopback
    #[arg(long, value_name = "CIDR", num_args = 1.., value_parser = trusted_network)]
    pub trusted_proxy: Vec<String>,
    /// Serve the page from this folder instead of the one inside the binary
    #[arg(long, value_name = "DIR")]
    pub ui_dir: Option<PathBuf>,
    /// Form of the log
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// Comma-separated networks of trusted proxies
    #[arg(long, env = "PROXMENUX_TRUSTED_PROXIES", hide = true)]
    pub trusted_proxies: Option<String>,
    /// The old program's switch: trust every private address
    #[arg(long, env = "PROXMENUX_TRUST_PROXY", hide = true)]
    pub trust_proxy: Option<String>,
}

impl ServeArguments {
    /// Returns what holds where the program is started without any command.
    pub fn default_from_environment() -> Self {
        Self {
            trusted_proxies: environment("PROXMENUX_TRUSTED_PROXIES"),
            trust_proxy: environment("PROXMENUX_TRUST_PROXY"),
            ..Self::default()
        }
    }
}

/// Checks one argument of the list, so that a bad one is wrong usage.
fn trusted_network(text: &str) -> Result<String, ParseTrustedError> {
    parse_trusted(text).map(|_networks| text.to_owned())
}

/// The form of the log on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// An address to listen on.
///
/// ```
/// use proxmenux_monitor::config::ListenAddress;
///
/// assert!("127.0.0.1:0".parse::<ListenAddress>().is_ok());
/// assert!("[::]:8008".parse::<ListenAddress>().is_ok());
/// assert!("8008".parse::<ListenAddress>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress(pub SocketAddr);

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_not_an_address| {
            format!("`{text}` is not an address with a port, such as 0.0.0.0:{PORT}")
        })
    }
}

impl Default for ListenAddress {
    fn default() -> Self {
        Self(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), PORT))
    }
}

/// The files and directories, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locations {
    /// The state directory.
    pub state: PathBuf,
    /// The data directory.
    pub data: PathBuf,
    /// The settings file.
    pub settings: PathBuf,
    /// The audit log.
    pub auth_log: PathBuf,
    /// The TLS setting.
    pub ssl_config: PathBuf,
}

impl Locations {
    /// Resolves the places: root uses the system's directories, others their own.
    ///
    /// Also returns a sentence for the log where something is not where root would have it.
    pub fn resolve(places: &Places) -> Result<(Self, Option<String>), ConfigError> {
        let is_root = rustix::process::geteuid().is_root();
        let home = || {
            environment("HOME")
                .map(PathBuf::from)
                .ok_or(ConfigError::NoHome)
        };
        let state = match &places.config_dir {
            Some(path) => path.clone(),
            None => home()?.join(".config/proxmenux-monitor"),
        };
        let own = match (is_root, environment("XDG_STATE_HOME")) {
            (true, _) => None,
            (false, Some(path)) => Some(PathBuf::from(path).join("proxmenux-monitor")),
            (false, None) => match environment("HOME") {
                Some(home) => Some(PathBuf::from(home).join(".local/state/proxmenux-monitor")),
                None => Some(state.clone()),
            },
        };
        let place = |given: &Option<PathBuf>, system: &str, name: &str| match (given, &own) {
            (Some(path), _) => path.clone(),
            (None, None) => PathBuf::from(system),
            (None, Some(own)) => own.join(name),
        };
        // The setting of TLS names files there, wherever one happens to be when it is read.
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let locations = Self {
            data: absolute(place(&places.data_dir, "/var/lib/proxmenux-monitor", "")),
            auth_log: place(
                &places.auth_log,
                "/var/log/proxmenux-auth.log",
                "proxmenux-auth.log",
            ),
            ssl_config: place(
                &places.ssl_config,
                "/etc/proxmenux/ssl_config.json",
                "ssl_config.json",
            ),
            settings: places
                .config
                .clone()
                .unwrap_or_else(|| state.join("monitor.toml")),
            state,
        };
        let all_given = places.data_dir.is_some() && places.auth_log.is_some();
        let told = own.filter(|_| !all_given).map(|own| {
            format!(
                "not root: what would be under /var and /etc is in {}",
                own.display()
            )
        });
        Ok((locations, told))
    }
}

/// How much `GET /api/system-info` tells to anyone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicInfo {
    /// Host name, uptime and health.
    #[default]
    Full,
    /// The health word alone.
    Status,
}

/// In which zone the audit log is stamped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditTime {
    /// The host's, as Fail2Ban expects.
    #[default]
    Local,
    /// UTC.
    Utc,
}

/// How long nobody may type in a terminal before it is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "u32")]
pub struct TerminalIdle(
    /// None is for ever.
    pub Option<Duration>,
);

impl From<u32> for TerminalIdle {
    fn from(minutes: u32) -> Self {
        Self((minutes > 0).then(|| Duration::from_mins(u64::from(minutes))))
    }
}

impl Default for TerminalIdle {
    fn default() -> Self {
        Self::from(15)
    }
}

/// What the owner has decided that is no secret: `monitor.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whose word on the client's address is taken, and in which header.
    pub proxies: ProxyPolicy,
    /// Who decided whose.
    pub trusted_from: TrustedFrom,
    /// The host's names beside its own.
    pub host_names: Vec<HostName>,
    /// Who may set up without a claim code.
    pub setup: SetupFrom,
    /// Whether open mode answers public addresses too.
    pub open_mode_public: bool,
    /// How long a session may be idle; none is for ever.
    pub idle: Option<SignedDuration>,
    /// How long nobody may type in a terminal.
    pub terminal_idle: TerminalIdle,
    /// Pages of other origins that may use the API.
    pub cors_origins: Vec<Origin>,
    /// How much anyone is told.
    pub system_info: PublicInfo,
    /// The audit log's zone.
    pub audit_time: AuditTime,
    /// How long a certificate is tried.
    pub tls_trial: TrialLength,
    /// Whether browsers are told to come back by HTTPS only.
    pub hsts: bool,
    /// Whether trusted proxies may name their client by the PROXY protocol.
    pub proxy_protocol: bool,
}

/// Where the list of trusted proxies comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrustedFrom {
    /// Nowhere: loopback.
    #[default]
    Default,
    /// The settings file.
    Settings,
    /// An argument or the environment, which win.
    Option,
}

/// How long a certificate is tried before it is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct TrialLength(u32);

impl TrialLength {
    /// Nobody can open a page and confirm in less.
    const SHORTEST: SignedDuration = SignedDuration::from_secs(5);

    /// Returns the length.
    pub fn get(self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.0))
    }
}

impl Default for TrialLength {
    fn default() -> Self {
        Self(120)
    }
}

impl TryFrom<u32> for TrialLength {
    type Error = String;

    fn try_from(seconds: u32) -> Result<Self, String> {
        let length = Self(seconds);
        if (Self::SHORTEST..=LONGEST_TRIAL).contains(&length.get()) {
            return Ok(length);
        }
        let (shortest, longest) = (Self::SHORTEST.as_secs(), LONGEST_TRIAL.as_secs());
        Err(format!("must be {shortest} to {longest} seconds"))
    }
}

/// The settings file as it is written: flat keys, all optional.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    trusted_proxies: Option<Vec<String>>,
    client_address_header: ClientAddressHeader,
    host_names: Vec<HostName>,
    setup: SetupFrom,
    open_mode_public: bool,
    idle_minutes: u32,
    terminal_idle_minutes: TerminalIdle,
    cors_origins: Vec<Origin>,
    system_info: PublicInfo,
    audit_time: AuditTime,
    tls_trial_seconds: TrialLength,
    hsts: bool,
    proxy_protocol: bool,
}

const KNOWN_KEYS: &[&str] = &[
    "trusted_proxies",
    "client_address_header",
    "host_names",
    "setup",
    "open_mode_public",
    "idle_minutes",
    "terminal_idle_minutes",
    "cors_origins",
    "system_info",
    "audit_time",
    "tls_trial_seconds",
    "hsts",
    "proxy_protocol",
];

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no home directory to keep the state in.
    #[error("no HOME is set: name the state directory with --config-dir")]
    NoHome,
    /// The settings file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The settings file does not hold what it should.
    #[error("{}: {error}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        error: Box<toml::de::Error>,
    },
    /// The list of trusted proxies is refused.
    #[error("the list of trusted proxies cannot be used")]
    Trusted(#[from] ParseTrustedError),
}

/// Where the list of trusted proxies comes from when it is not the settings file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    trusted: Option<String>,
    trusts_private: bool,
}

impl From<&ServeArguments> for Overrides {
    fn from(arguments: &ServeArguments) -> Self {
        let listed =
            (!arguments.trusted_proxy.is_empty()).then(|| arguments.trusted_proxy.join(","));
        Self {
            trusted: listed.or_else(|| arguments.trusted_proxies.clone()),
            trusts_private: arguments.trust_proxy.as_deref() == Some("1"),
        }
    }
}

impl Settings {
    /// Says whether a text could be the settings file. `Err` says why not.
    pub fn check(text: &str) -> Result<(), String> {
        let read = toml::from_str::<File>(text);
        read.map(drop).map_err(|error| error.message().to_owned())
    }

    /// Reads the settings file; a missing one means the defaults.
    ///
    /// Also returns sentences for the log: unknown keys, and what is dangerous.
    pub fn read(path: &Path, overrides: &Overrides) -> Result<(Self, Vec<String>), ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                let path = path.to_owned();
                return Err(ConfigError::File { path, error });
            }
        };
        let in_file = |error| ConfigError::Toml {
            path: path.to_owned(),
            error: Box::new(error),
        };
        let mut told = Vec::new();
        let table: toml::Table = text.parse().map_err(in_file)?;
        for key in table
            .keys()
            .filter(|key| !KNOWN_KEYS.contains(&key.as_str()))
        {
            told.push(format!("{}: unknown setting `{key}`", path.display()));
        }
        let file: File = toml::from_str(&text).map_err(in_file)?;
        let mut proxies = ProxyPolicy {
            header: file.client_address_header,
            ..ProxyPolicy::default()
        };
        let mut trusted_from = TrustedFrom::Default;
        let in_file = file.trusted_proxies.map(|list| list.join(","));
        if let Some(listed) = &overrides.trusted {
            trusted_from = TrustedFrom::Option;
            proxies.trusted = parse_trusted(listed)?;
        } else if let Some(listed) = in_file {
            trusted_from = TrustedFrom::Settings;
            proxies.trusted = parse_trusted(&listed)?;
        } else if overrides.trusts_private {
            trusted_from = TrustedFrom::Option;
            proxies.trusted = private_networks();
            told.push(
                "PROXMENUX_TRUST_PROXY=1 trusts every private address as a proxy: anyone on your network can claim any address; name the proxy with PROXMENUX_TRUSTED_PROXIES instead".to_owned(),
            );
        }
        let settings = Self {
            proxies,
            trusted_from,
            host_names: file.host_names,
            setup: file.setup,
            open_mode_public: file.open_mode_public,
            idle: (file.idle_minutes > 0)
                .then(|| SignedDuration::from_mins(i64::from(file.idle_minutes))),
            terminal_idle: file.terminal_idle_minutes,
            cors_origins: file.cors_origins,
            system_info: file.system_info,
            audit_time: file.audit_time,
            tls_trial: file.tls_trial_seconds,
            hsts: file.hsts,
            proxy_protocol: file.proxy_protocol,
        };
        Ok((settings, told))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads a variable of the environment; an empty one counts as missing.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where the environment is read"
)]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns the filter of the log: `PROXMENUX_LOG`, or what an operator wants to see.
pub fn log_filter() -> String {
    environment("PROXMENUX_LOG").unwrap_or_else(|| "info".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, overrides: &Overrides) -> Result<(Settings, Vec<String>), ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("monitor.toml");
        #[expect(clippy::disallowed_methods, reason = "a test's own file")]
        std::fs::write(&path, text).unwrap();
        Settings::read(&path, overrides)
    }

    #[test]
    fn a_missing_file_means_the_defaults() {
        let (settings, told) = Settings::read(
            Path::new("/nonexistent/monitor.toml"),
            &Overrides::default(),
        )
        .unwrap();
        assert_eq!(settings, Settings::default());
        assert!(told.is_empty());
    }

    #[test]
    fn every_known_key_is_read_and_an_unknown_one_told() {
        let text = r#"
            trusted_proxies = ["192.0.2.40", "198.51.100.0/24"]
            client_address_header = "x-real-ip"
            host_names = ["pve.example.net"]
            setup = "code"
            open_mode_public = true
            idle_minutes = 15
            terminal_idle_minutes = 5
            cors_origins = ["https://home.example.net"]
            system_info = "status"
            audit_time = "utc"
            tls_trial_seconds = 30
            hsts = true
            proxy_protocol = true
            colour = "green"
        "#;
        let (settings, told) = read(text, &Overrides::default()).unwrap();

        assert_eq!(settings.proxies.trusted.len(), 2);
        assert_eq!(settings.proxies.header, ClientAddressHeader::XRealIp);
        assert_eq!(settings.setup, SetupFrom::Code);
        assert_eq!(settings.idle, Some(SignedDuration::from_mins(15)));
        let five = Some(Duration::from_mins(5));
        assert_eq!(settings.terminal_idle, TerminalIdle(five));
        assert_eq!(settings.system_info, PublicInfo::Status);
        assert_eq!(settings.tls_trial.get(), SignedDuration::from_secs(30));
        assert!(settings.open_mode_public && settings.hsts && settings.proxy_protocol);
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("colour"), "{told:?}");
    }

    #[test]
    fn a_terminal_is_locked_after_a_while_unless_that_is_turned_off() {
        let limit = |text| {
            let (settings, _) = read(text, &Overrides::default()).unwrap();
            settings.terminal_idle.0
        };
        assert_eq!(limit(""), Some(Duration::from_mins(15)));
        assert_eq!(limit("terminal_idle_minutes = 0"), None);
    }

    #[test]
    fn bad_values_are_refused_with_their_place() {
        for text in [
            "setup = \"anyone\"",
            "idle_minutes = -1",
            "tls_trial_seconds = 4",
            "tls_trial_seconds = 3601",
            "terminal_idle_minutes = -1",
            "terminal_idle_minutes = \"never\"",
            "trusted_proxies = [\"0.0.0.0/0\"]",
            "trusted_proxies = [\"proxy\"]",
            "host_names = [\"a/b\"]",
            "cors_origins = [\"*\"]",
            "= 1",
        ] {
            assert!(read(text, &Overrides::default()).is_err(), "{text}");
        }
    }

    #[test]
    fn an_argument_wins_over_the_environment_over_the_file() {
        let file = "trusted_proxies = [\"192.0.2.1\"]";
        let mut arguments = ServeArguments::default();
        let trusted = |arguments: &ServeArguments| {
            let (settings, _) = read(file, &Overrides::from(arguments)).unwrap();
            settings.proxies.trusted
        };
        assert_eq!(trusted(&arguments), ["192.0.2.1/32".parse().unwrap()]);
        arguments.trusted_proxies = Some("192.0.2.2".to_owned());
        assert_eq!(trusted(&arguments), ["192.0.2.2/32".parse().unwrap()]);
        arguments.trusted_proxy = vec!["192.0.2.3".to_owned()];
        assert_eq!(trusted(&arguments), ["192.0.2.3/32".parse().unwrap()]);
    }

    #[test]
    fn the_old_switch_trusts_private_addresses_and_warns() {
        let arguments = ServeArguments {
            trust_proxy: Some("1".to_owned()),
            ..ServeArguments::default()
        };
        let (settings, told) = read("", &Overrides::from(&arguments)).unwrap();
        assert!(settings.proxies.trusts("192.168.1.1".parse().unwrap()));
        assert_eq!(told.len(), 1);
    }
}
