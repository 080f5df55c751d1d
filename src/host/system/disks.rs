//! The file systems of this host: which are real, and how full they are.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::rates::percent;

/// A mounted file system on storage of this host.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Disk {
    /// Where it is mounted.
    #[schema(example = "/")]
    pub mount: String,
    /// What is mounted: a block device, or a ZFS dataset.
    #[schema(example = "/dev/mapper/pve-root")]
    pub device: String,
    /// The kind of file system.
    #[schema(example = "ext4")]
    pub filesystem: String,
    /// Its size in bytes.
    pub total: u64,
    /// The bytes in use.
    pub used: u64,
    /// How full it is in percent, as `df` counts: what only root may use is no free space.
    pub usage: f64,
    /// Whether nothing can be written to it at all.
    pub read_only: bool,
}

/// The room of one file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// All of it.
    pub(super) total: u64,
    /// What is in use.
    pub(super) used: u64,
    /// What programs may still use.
    pub(super) available: u64,
}

/// Returns the room of the file system mounted at `mount`.
pub(super) fn room(mount: &str) -> Option<Room> {
    let figures = rustix::fs::statvfs(mount).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(figures.f_frsize);
    let total = bytes(figures.f_blocks);
    (total > 0).then(|| Room {
        total,
        used: total.saturating_sub(bytes(figures.f_bfree)),
        available: bytes(figures.f_bavail),
    })
}

/// Returns the file systems in `mountinfo` (proc(5)), each device once, `/` first.
pub(super) fn disks(mountinfo: &str, room: impl Fn(&str) -> Option<Room>) -> Vec<Disk> {
    let mut by_device: HashMap<&str, Mount<'_>> = HashMap::new();
    for mount in mountinfo.lines().filter_map(Mount::parse) {
        if !mount.is_real() {
            continue;
        }
        let kept = by_device
            .entry(mount.number)
            .or_insert_with(|| mount.clone());
        if mount.rank() < kept.rank() {
            *kept = mount;
        }
    }

    let mut mounts: Vec<_> = by_device.into_values().collect();
    mounts.sort_by(|a, b| (a.path != "/", &a.path).cmp(&(b.path != "/", &b.path)));
    mounts
        .into_iter()
        .filter_map(|mount| Some((room(&mount.path)?, mount)))
        .map(|(room, mount)| Disk {
            usage: percent(room.used, room.used.saturating_add(room.available)),
            total: room.total,
            used: room.used,
            mount: mount.path,
            device: mount.source,
            filesystem: mount.kind.to_owned(),
            read_only: mount.read_only,
        })
        .collect()
}

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, Clone)]
struct Mount<'a> {
    /// `major:minor`, which all mounts of one file system share.
    number: &'a str,
    /// The folder of the file system that is mounted; not `/` for a bind mount.
    root: &'a str,
    path: String,
    kind: &'a str,
    source: String,
    read_only: bool,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
        let (head, tail) = line.split_once(" - ")?;
        let mut head = head.split_ascii_whitespace().skip(2);
        let (number, root, path) = (head.next()?, head.next()?, head.next()?);
        let mut tail = tail.split_ascii_whitespace();
        let (kind, source) = (tail.next()?, tail.next()?);
        // These are the options of the file system itself. A service manager may have shown it to us read-only.
        let read_only = tail.next()?.split(',').any(|option| option == "ro");
        Some(Self {
            number,
            root,
            path: unescape(path),
            kind,
            source: unescape(source),
            read_only,
        })
    }

    /// Whether it is storage of this host: no memory, no other host (which may not answer), no packed image.
    fn is_real(&self) -> bool {
        if self.path == "/" {
            return true;
        }
        match self.kind {
            "zfs" => true,
            "devtmpfs" | "erofs" | "fuse" | "iso9660" | "squashfs" | "udf" => false,
            _ => self.source.starts_with("/dev/"),
        }
    }

    /// Which of several mounts of one device is shown: the lowest.
    fn rank(&self) -> (bool, bool, usize, &str) {
        (
            self.path != "/",
            self.root != "/",
            self.path.len(),
            &self.path,
        )
    }
}

/// Undoes the octal escapes in which the kernel writes space, tab, newline and backslash.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let octal = part
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (octal, part.get(3..)) {
            (Some(byte), Some(rest)) if byte.is_ascii() => {
                plain.push(char::from(byte));
                plain.push_str(rest);
            }
            (Some(_) | None, Some(_) | None) => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
#[expect(
    clippy::float_cmp,
    reason = "figures with one decimal come out exactly"
)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
22 27 0:20 / /proc rw,nosuid - proc proc rw
26 27 0:23 / /run rw,nosuid - tmpfs tmpfs rw,size=1G
27 1 253:1 / / ro,relatime shared:1 - ext4 /dev/mapper/pve-root rw,errors=remount-ro
28 27 253:1 /var/lib/vz /mnt/vz rw,relatime - ext4 /dev/mapper/pve-root rw,errors=remount-ro
29 27 8:2 / /boot/efi rw,relatime - vfat /dev/sda2 rw
30 27 8:17 / /mnt/my\\040disk rw - xfs /dev/sdb1 ro,attr2
31 27 0:50 / /rpool/data rw - zfs rpool/data rw,xattr
32 27 0:51 / /mnt/pve/nas rw - nfs4 192.0.2.9:/export rw,hard
33 27 7:0 / /snap/core/1 ro - squashfs /dev/loop0 ro
34 27 0:52 / /etc/pve rw - fuse /dev/fuse rw,user_id=0
39 27 8:49 /shared /srv2 rw - ext4 /dev/sdd1 rw
40 27 8:49 / /mnt/whole rw - ext4 /dev/sdd1 rw
35 27 0:53 / /var/lib/lxcfs rw - fuse.lxcfs lxcfs rw
36 27 8:33 / /srv/backup/a/long/path rw - btrfs /dev/sdc1 rw,subvol=/@b
37 27 8:33 / /srv/backup rw - btrfs /dev/sdc1 rw,subvol=/@
38 27 0:54 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw,lowerdir=/a
";

    #[expect(clippy::unnecessary_wraps, reason = "it stands in for `room`")]
    fn roomy(_: &str) -> Option<Room> {
        Some(Room {
            total: 1_000,
            used: 400,
            available: 400,
        })
    }

    #[test]
    fn only_storage_of_this_host_is_shown_each_device_once() {
        let mounts: Vec<_> = disks(MOUNTINFO, roomy)
            .into_iter()
            .map(|disk| disk.mount)
            .collect();

        assert_eq!(
            mounts,
            [
                "/",
                "/boot/efi",
                "/mnt/my disk",
                "/mnt/whole",
                "/rpool/data",
                "/srv/backup"
            ]
        );
    }

    #[test]
    fn a_container_shows_its_root() {
        let disks = disks("1 0 0:99 / / rw - overlay overlay rw,lowerdir=/a\n", roomy);

        assert_eq!(disks[0].mount, "/");
        assert_eq!(disks[0].filesystem, "overlay");
    }

    #[test]
    fn reserved_room_is_not_free() {
        let disk = &disks(MOUNTINFO, roomy)[0];

        assert_eq!((disk.total, disk.used), (1_000, 400));
        assert_eq!(disk.usage, 50.0);
    }

    #[test]
    fn read_only_is_what_the_file_system_is_not_how_we_see_it() {
        let disks = disks(MOUNTINFO, roomy);

        let read_only: Vec<_> = disks
            .iter()
            .filter(|disk| disk.read_only)
            .map(|disk| disk.mount.as_str())
            .collect();
        assert_eq!(read_only, ["/mnt/my disk"]);
    }

    #[test]
    fn a_disk_that_cannot_be_asked_is_left_out() {
        let disks = disks(MOUNTINFO, |mount| {
            roomy(mount).filter(|_| mount != "/boot/efi")
        });

        assert!(disks.iter().all(|disk| disk.mount != "/boot/efi"));
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape(r"a\040b\011c\134d"), "a b\tc\\d");
        assert_eq!(unescape(r"a\9x\40"), r"a\9x\40");
        assert_eq!(unescape(r"ü\040é"), "ü é");
    }

    #[test]
    fn the_root_of_this_host_has_room() {
        let room = room("/").unwrap();

        assert!(room.used + room.available <= room.total);
    }
}
