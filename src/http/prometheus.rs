//! What a Prometheus server scrapes: the host's figures and the Monitor's own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::error::Error;
use super::system::measure;
use super::visit::Visit;
use crate::access::Access;
use crate::access::tokens::Invalidation;
use crate::app::App;
use crate::host::system::{HealthStatus, SystemSnapshot};

/// The text format that every Prometheus reads.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The format of the specification `OpenMetrics`.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;

/// Returns all figures as gauges, in the format that the client asks for.
///
/// Gauges read alike in the text format 0.0.4 and in the later one, so one text serves both.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    visit: Visit,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let access = visit.read(&app)?;
    let snapshot = measure(&app, |app| app.system.sample(app.clock.now())).await?;
    let mut exposition = Exposition(Registry::with_prefix("proxmenux"));
    exposition.add_host(&snapshot);
    exposition.add_devices(&snapshot);
    exposition.add_monitor(&app, &access);
    let mut text = String::new();
    encode(&mut text, &exposition.0).map_err(|error| Error::Internal(error.into()))?;
    let kind = if wants_open_metrics(&headers) {
        OPEN_METRICS
    } else {
        TEXT
    };
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}

fn wants_open_metrics(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter();
    let mut accepted = accepted.filter_map(|line| line.to_str().ok());
    accepted.any(|line| line.contains("application/openmetrics-text"))
}

struct Exposition(Registry);

impl Exposition {
    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, [(Labels::new(), value)]);
    }

    fn gauges(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, f64)>) {
        let family = Gauges::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(value);
        }
        self.0.register(name, help, family);
    }

    fn add_host(&mut self, host: &SystemSnapshot) {
        let name = vec![("hostname", host.hostname.clone())];
        self.gauges("host_info", "The host", [(name, 1.0)]);
        let health = match host.health.status {
            HealthStatus::Healthy => 0.0,
            HealthStatus::Warning => 1.0,
            HealthStatus::Critical => 2.0,
        };
        self.gauge("health", "0 is healthy, 1 a warning, 2 critical", health);
        self.gauge(
            "uptime_seconds",
            "How long the host has been up",
            float(host.uptime_seconds),
        );
        self.gauge(
            "cpu_usage_ratio",
            "Processor time in use",
            host.cpu_usage / 100.0,
        );
        self.gauge("cpu_cores", "Processors", f64::from(host.cpu_cores));
        self.gauge(
            "memory_usage_ratio",
            "Memory in use",
            host.memory_usage / 100.0,
        );
        self.gauge("swap_usage_ratio", "Swap in use", host.swap_usage / 100.0);
        let minutes = ["1", "5", "15"].into_iter().zip(host.load_average);
        let loads = minutes.map(|(minutes, load)| (vec![("minutes", minutes.to_owned())], load));
        self.gauges("load_average", "Processes that run or wait", loads);
        let temperatures = host.temperatures.iter();
        let temperatures =
            temperatures.map(|sensor| (vec![("sensor", sensor.label.clone())], sensor.celsius));
        self.gauges(
            "temperature_celsius",
            "Temperature of a sensor",
            temperatures,
        );
    }

    fn add_devices(&mut self, host: &SystemSnapshot) {
        let disk = |value: fn(&crate::host::system::Disk) -> u64| {
            let disks = host.disks.iter();
            Vec::from_iter(disks.map(|disk| {
                let labels = vec![
                    ("mount", disk.mount.clone()),
                    ("device", disk.device.clone()),
                ];
                (labels, float(value(disk)))
            }))
        };
        self.gauges(
            "disk_total_bytes",
            "Size of a file system",
            disk(|disk| disk.total),
        );
        self.gauges(
            "disk_used_bytes",
            "What is in use of a file system",
            disk(|disk| disk.used),
        );
        let card = |value: fn(&crate::host::system::NetworkInterface) -> u64| {
            let cards = host.network.iter();
            Vec::from_iter(
                cards.map(|card| (vec![("interface", card.name.clone())], float(value(card)))),
            )
        };
        let received = card(|card| card.rx_bytes);
        self.gauges(
            "network_received_bytes",
            "Received since the interface appeared",
            received,
        );
        let sent = card(|card| card.tx_bytes);
        self.gauges(
            "network_sent_bytes",
            "Sent since the interface appeared",
            sent,
        );
        let guests = host.guests.iter().map(|guest| {
            let labels = vec![
                ("vmid", guest.vmid.to_string()),
                ("name", guest.name.clone()),
            ];
            (labels, if guest.status == "running" { 1.0 } else { 0.0 })
        });
        self.gauges("guest_running", "1 if a guest runs", guests);
    }

    fn add_monitor(&mut self, app: &App, access: &Access) {
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        self.gauges("monitor_info", "The Monitor", [(version, 1.0)]);
        let sessions = float(access.sessions().len() as u64);
        self.gauge("sessions", "Live sessions", sessions);
        let now = app.clock.now();
        let mut tokens = BTreeMap::from(
            ["active", "revoked", "rotated", "expired", "secret_changed"]
                .map(|state| (state, 0_u64)),
        );
        for token in access.api_tokens().iter() {
            let state = match access.standing(token, now).invalidation() {
                None => "active",
                Some(Invalidation::Revoked) => "revoked",
                Some(Invalidation::Rotated) => "rotated",
                Some(Invalidation::Expired) => "expired",
                Some(Invalidation::SecretChanged) => "secret_changed",
            };
            *tokens.entry(state).or_default() += 1;
        }
        let tokens = tokens.into_iter();
        let tokens = tokens.map(|(state, count)| (vec![("state", state.to_owned())], float(count)));
        self.gauges("api_tokens", "API tokens by state", tokens);
        let penalties = float(app.limits.penalties(now).len() as u64);
        self.gauge(
            "penalties",
            "Who is kept from signing in for a while",
            penalties,
        );
        let failures = float(app.audit.failures());
        self.gauge(
            "audit_write_failures",
            "Lines of the audit log that were not written",
            failures,
        );
        let certificate = app.tls.served().info.clone();
        let left = certificate.map(|info| (Labels::new(), days(info.expires.duration_since(now))));
        self.gauges(
            "certificate_days_left",
            "Days until the certificate ends that is served",
            left,
        );
        let derivations = float(app.derivations.count());
        self.gauge(
            "derivations",
            "Keys derived from passwords since the start",
            derivations,
        );
    }
}

fn days(span: jiff::SignedDuration) -> f64 {
    span.as_secs_f64() / 86_400.0
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn float(number: u64) -> f64 {
    number as f64
}
