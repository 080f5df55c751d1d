//! The reference of line 12: a terminal with nothing between it and who types.

use std::path::Path;

use pty_process::{Command, Pty};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;

use crate::Plan;
use crate::terminal::Terminal;

/// As much as the monitor reads at once.
const PIECE: usize = 32 * 1024;

/// A terminal of our own with a script in it, which ends when this is dropped.
pub(crate) struct Bare {
    pty: Pty,
    _script: Child,
    piece: Vec<u8>,
}

impl Bare {
    /// Starts a script, where servers run.
    pub(crate) fn start(plan: &Plan, script: &Path) -> anyhow::Result<Self> {
        let (pty, terminal) = pty_process::open()?;
        let command = Command::new("/bin/sh").arg(script).kill_on_drop(true);
        Ok(Self {
            pty,
            _script: plan.cpus.as_server(|| command.spawn(terminal))?,
            piece: vec![0; PIECE],
        })
    }
}

impl Terminal for Bare {
    async fn type_in(&mut self, keys: &str) -> anyhow::Result<()> {
        Ok(self.pty.write_all(keys.as_bytes()).await?)
    }

    async fn read(&mut self) -> anyhow::Result<&[u8]> {
        let length = self.pty.read(&mut self.piece).await?;
        Ok(self.piece.get(..length).unwrap_or_default())
    }
}
