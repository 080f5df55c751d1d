//! The Proxmox guests on this host, asked of `pvesh` when somebody wants to see them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rates::percent_of_ratio;
use crate::host::command::{self, CommandError};

/// How old the list may be: `pvesh` takes about a second of a processor.
const FRESH: Duration = Duration::from_secs(30);

/// How long `pvesh` may take, for example while the cluster has no quorum.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A virtual machine or a container on this host.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Guest {
    /// Its number, unique in the cluster.
    #[schema(example = 100)]
    pub vmid: u32,
    /// Its name; empty if it has none.
    pub name: String,
    /// What it is.
    pub kind: GuestKind,
    /// `running`, `stopped`, or what else Proxmox says.
    #[schema(example = "running")]
    pub status: String,
    /// The node that it is on.
    pub node: String,
    /// Processor time in use, in percent of what it has.
    pub cpu_usage: f64,
    /// How many processors it has.
    pub cpu_cores: f64,
    /// Memory in use, in bytes.
    pub memory_used: u64,
    /// The memory that it has, in bytes.
    pub memory_total: u64,
    /// How long it has been running.
    pub uptime_seconds: u64,
}

/// The two kinds of guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuestKind {
    /// A virtual machine.
    Qemu,
    /// A container.
    Lxc,
}

/// Reads what `pvesh get /cluster/resources --type vm --output-format json` prints; templates are left out.
///
/// An entry that can't be understood is skipped: one odd guest must not hide the others.
pub fn parse_guests(json: &str) -> Result<Vec<Guest>, serde_json::Error> {
    let entries: Vec<serde_json::Value> = serde_json::from_str(json)?;
    let mut guests: Vec<_> = entries
        .into_iter()
        .filter_map(|entry| serde_json::from_value::<Resource>(entry).ok())
        .filter(|resource| resource.template == 0)
        .map(Guest::from)
        .collect();
    guests.sort_by_key(|guest| guest.vmid);
    Ok(guests)
}

/// An entry of `/cluster/resources`. A stopped guest lacks most fields.
#[derive(Debug, Deserialize)]
struct Resource {
    vmid: u32,
    #[serde(rename = "type")]
    kind: GuestKind,
    node: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    cpu: f64,
    #[serde(default)]
    maxcpu: f64,
    #[serde(default)]
    mem: u64,
    #[serde(default)]
    maxmem: u64,
    #[serde(default)]
    uptime: u64,
    #[serde(default)]
    template: u8,
}

impl From<Resource> for Guest {
    fn from(resource: Resource) -> Self {
        Self {
            vmid: resource.vmid,
            name: resource.name,
            kind: resource.kind,
            status: resource.status,
            node: resource.node,
            cpu_usage: percent_of_ratio(resource.cpu),
            cpu_cores: resource.maxcpu,
            memory_used: resource.mem,
            memory_total: resource.maxmem,
            uptime_seconds: resource.uptime,
        }
    }
}

/// The last list, renewed behind the back of who asks.
#[derive(Debug)]
pub(super) struct Guests {
    program: String,
    last: Mutex<Option<(Instant, Arc<Vec<Guest>>)>>,
    is_asking: AtomicBool,
}

impl Guests {
    /// Keeps no list yet; `program` will be asked for it.
    pub(super) fn new(program: &str) -> Self {
        Self {
            program: program.to_owned(),
            last: Mutex::default(),
            is_asking: AtomicBool::default(),
        }
    }

    /// Returns the guests on `node`.
    ///
    /// The first caller waits for `pvesh`; later ones get the last list at once, and start a new one if it is old.
    pub(super) fn on_node(self: &Arc<Self>, node: &str) -> Vec<Guest> {
        let last = self.last();
        let is_fresh = last.as_ref().is_some_and(|(at, _)| at.elapsed() < FRESH);
        if !is_fresh && !self.is_asking.swap(true, Ordering::AcqRel) {
            if last.is_some() {
                self.renew_in_background();
            } else {
                self.renew();
            }
        }
        // An old list is shown as it was, however soon the new one is there.
        let shown = last.or_else(|| self.last());
        let guests = shown.map(|(_, guests)| guests).unwrap_or_default();
        guests
            .iter()
            .filter(|guest| guest.node == node)
            .cloned()
            .collect()
    }

    fn last(&self) -> Option<(Instant, Arc<Vec<Guest>>)> {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn renew_in_background(self: &Arc<Self>) {
        let this = Arc::clone(self);
        let started = thread::Builder::new()
            .name("guests".to_owned())
            .spawn(move || this.renew());
        if let Err(error) = started {
            tracing::warn!(%error, "no thread for the list of guests");
            self.is_asking.store(false, Ordering::Release);
        }
    }

    /// Asks Proxmox. If it doesn't answer the last list stays; without Proxmox it is empty.
    fn renew(&self) {
        let args = [
            "get",
            "/cluster/resources",
            "--type",
            "vm",
            "--output-format",
            "json",
        ];
        let guests = match command::run(&self.program, &args, TIMEOUT) {
            Ok(output) => match parse_guests(&String::from_utf8_lossy(&output.stdout)) {
                Ok(guests) => Some(Arc::new(guests)),
                Err(error) => {
                    tracing::warn!(%error, "the list of guests can't be read");
                    None
                }
            },
            Err(CommandError::NotInstalled { .. }) => Some(Arc::default()),
            Err(error) => {
                tracing::warn!(%error, "the list of guests can't be had");
                None
            }
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = last.take().map(|(_, guests)| guests).unwrap_or_default();
        *last = Some((Instant::now(), guests.unwrap_or(kept)));
        drop(last);
        self.is_asking.store(false, Ordering::Release);
    }
}

#[cfg(test)]
#[expect(
    clippy::float_cmp,
    reason = "figures with one decimal come out exactly"
)]
mod tests {
    use super::super::fixture::Tree;
    use super::*;

    const RESOURCES: &str = r#"[
        {"cpu":0.125,"disk":0,"diskread":1,"id":"qemu/101","maxcpu":4,"maxdisk":34359738368,"maxmem":8589934592,
         "mem":2147483648,"name":"files","node":"pve","status":"running","template":0,"type":"qemu",
         "uptime":86400,"vmid":101},
        {"id":"lxc/100","maxcpu":1,"maxmem":536870912,"name":"dns","node":"pve","status":"stopped","type":"lxc",
         "vmid":100},
        {"id":"qemu/900","name":"golden","node":"pve","status":"stopped","template":1,"type":"qemu","vmid":900},
        {"id":"storage/pve/local","type":"storage","node":"pve"}
    ]"#;

    #[test]
    fn guests_are_read_in_order_without_templates() {
        let guests = parse_guests(RESOURCES).unwrap();

        assert_eq!(guests.len(), 2);
        assert_eq!((guests[0].vmid, guests[0].kind), (100, GuestKind::Lxc));
        assert_eq!(guests[0].cpu_usage, 0.0);
        assert_eq!(guests[1].name, "files");
        assert_eq!(guests[1].cpu_usage, 12.5);
        assert_eq!(guests[1].memory_used, 2_147_483_648);
        assert_eq!(guests[1].uptime_seconds, 86_400);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        assert!(parse_guests("").is_err());
        assert!(parse_guests("{}").is_err());
        assert_eq!(parse_guests("[]").unwrap(), []);
    }

    fn guests(program: &str, listed: Option<Instant>) -> Arc<Guests> {
        let guests = Guests::new(program);
        let list = Arc::new(parse_guests(RESOURCES).unwrap());
        *guests.last.lock().unwrap() = listed.map(|at| (at, list));
        Arc::new(guests)
    }

    const MISSING: &str = "no-such-program-here";

    #[test]
    fn a_host_without_proxmox_has_no_guests() {
        let guests = guests(MISSING, None);

        assert_eq!(guests.on_node("pve"), []);
        assert!(guests.last().is_some());
    }

    #[test]
    fn a_fresh_list_is_not_asked_for_again() {
        let guests = guests(MISSING, Some(Instant::now()));

        assert_eq!(guests.on_node("pve").len(), 2);
        assert_eq!(guests.on_node("other"), []);

        // Nobody else has it, so nobody is asking; and it is still the first list.
        assert_eq!(Arc::strong_count(&guests), 1);
        assert_eq!(guests.last().unwrap().1.len(), 2);
    }

    #[test]
    fn an_old_list_is_shown_while_a_new_one_is_made() {
        let guests = guests(MISSING, Instant::now().checked_sub(FRESH * 2));

        assert_eq!(guests.on_node("pve").len(), 2);

        while Arc::strong_count(&guests) > 1 {
            thread::yield_now();
        }
        assert_eq!(guests.on_node("pve"), []);
    }

    #[test]
    fn the_first_list_is_waited_for_and_a_failure_keeps_the_last() {
        let tree = Tree::new(&[]);
        let program = tree.program("pvesh", &format!("cat <<'END'\n{RESOURCES}\nEND\n"));
        let guests = guests(&program, None);
        assert_eq!(guests.on_node("pve").len(), 2);

        tree.program("pvesh", "echo 'no quorum' >&2; exit 1\n");
        guests.renew();

        assert_eq!(guests.on_node("pve").len(), 2);
    }
}
