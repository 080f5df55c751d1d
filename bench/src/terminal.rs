//! Line 12: what the monitor's terminal takes longer than a bare one, and what it carries.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::time::{sleep, timeout};

use crate::Plan;
use crate::bare::Bare;
use crate::sample::{Pairs, median, percentile};
use crate::server::Server;
use crate::state::{Home, Shape};
use crate::table::{Bar, Measure, Row};
use crate::window::Window;

/// What is typed for an echo.
const KEY: &str = "x";
/// How long nobody types after one.
const BETWEEN_KEYS: Duration = Duration::from_millis(2);
/// What the script says first.
const READY: &str = "<ready>";
/// How long a script takes at most until it says that, and anything else until there is output.
const PATIENCE: Duration = Duration::from_secs(20);

/// Gives each key back by itself, since the terminal does not.
const ECHO: &str = "stty raw -echo; printf '<ready>'; exec cat";
/// Prints each file whose name is typed, as the terminal shows text.
const PRINT: &str = "stty -echo; printf '<ready>'; while read -r file; do cat \"$file\"; done";

/// A line of what is printed.
const LINE: &str =
    "Nov 28 20:15:42 pve pvedaemon[1432]: <root@pam> successful auth for user 'root@pam'\n";
/// How often: 100 MB and a little less than a line.
const LINES: u32 = 100_000_000_u32.div_ceil(LENGTH);
#[expect(clippy::cast_possible_truncation, reason = "a line is short")]
const LENGTH: u32 = LINE.len() as u32;

const MOST_ADDED: Measure = Measure::Seconds(2e-3);
const LEAST_PRINTED: Measure = Measure::BytesPerSecond(50e6);
const MOST_MEMORY: Measure = Measure::Bytes(10.0 * 1024.0 * 1024.0);

/// A terminal with a script in it.
pub(crate) trait Terminal {
    /// Types.
    async fn type_in(&mut self, keys: &str) -> anyhow::Result<()>;

    /// Waits for output and returns a piece of it.
    async fn read(&mut self) -> anyhow::Result<&[u8]>;
}

/// Measures.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stand = Stand::new(plan)?;
        let mut rows = echoes(plan, &stand).await?;
        rows.extend(prints(plan, &stand).await?);
        rows.push(silence(plan, &stand).await?);
        Ok(rows)
    })
}

/// A server, and what is run in its terminals.
struct Stand {
    home: Home,
    server: Server,
    echo: PathBuf,
    print: PathBuf,
    text: PathBuf,
}

impl Stand {
    fn new(plan: &Plan) -> anyhow::Result<Self> {
        let home = Home::create(Shape::SMALL)?;
        let server = Server::monitor(plan, &home)?;
        let (echo, print) = (home.path("echo.sh"), home.path("print.sh"));
        fs::write(&echo, ECHO)?;
        fs::write(&print, PRINT)?;
        let text = home.path("text");
        write_text(&text)?;
        Ok(Self {
            home,
            server,
            echo,
            print,
            text,
        })
    }

    /// Opens both kinds of terminals, when the script in them runs.
    async fn open(&self, plan: &Plan, script: &Path) -> anyhow::Result<(Window, Bare)> {
        let mut bare = Bare::start(plan, script)?;
        until_ready(&mut bare).await?;
        Ok((self.open_window(script).await?, bare))
    }

    async fn open_window(&self, script: &Path) -> anyhow::Result<Window> {
        let token = self.home.sessions.first().context("no session")?;
        let mut window = Window::open(&self.server, token, script).await?;
        until_ready(&mut window).await?;
        Ok(window)
    }
}

fn write_text(path: &Path) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for _ in 0..LINES {
        file.write_all(LINE.as_bytes())?;
    }
    Ok(file.flush()?)
}

async fn until_ready(terminal: &mut impl Terminal) -> anyhow::Result<()> {
    let mut shown = String::new();
    while !shown.contains(READY) {
        let piece = timeout(PATIENCE, terminal.read()).await;
        let piece = piece.with_context(|| format!("no script runs: {shown:?}"))??;
        shown += &String::from_utf8_lossy(piece);
    }
    Ok(())
}

/// Types into both, one key here and one key there.
async fn echoes(plan: &Plan, stand: &Stand) -> anyhow::Result<Vec<Row>> {
    let (mut window, mut bare) = stand.open(plan, &stand.echo).await?;
    let (mut medians, mut p99s) = (Pairs::default(), Pairs::default());
    for _ in 0..plan.pace.rounds {
        let (mut ours, mut reference) = (Vec::new(), Vec::new());
        for _ in 0..plan.pace.keys {
            ours.push(echo(&mut window).await?);
            reference.push(echo(&mut bare).await?);
        }
        medians.add(median(&ours), median(&reference));
        p99s.add(percentile(&ours, 99), percentile(&reference, 99));
    }
    let row = |what, pairs: &Pairs| {
        Row::new(what, Measure::Seconds(pairs.difference()))
            .beside(Measure::Seconds(pairs.reference()))
            .must(Bar::FigureAtMost(MOST_ADDED))
    };
    Ok(vec![
        row(
            "echo of a key, median: added to / a bare terminal",
            &medians,
        ),
        row("– p99: added to / a bare terminal", &p99s),
    ])
}

/// Returns how long a key takes until it is seen, in seconds.
async fn echo(terminal: &mut impl Terminal) -> anyhow::Result<f64> {
    sleep(BETWEEN_KEYS).await;
    let begun = Instant::now();
    terminal.type_in(KEY).await?;
    let shown = timeout(PATIENCE, terminal.read()).await??;
    let took = begun.elapsed();
    ensure!(shown == KEY.as_bytes(), "a key's echo was {shown:?}");
    Ok(took.as_secs_f64())
}

/// Prints a large text in both, in turns.
async fn prints(plan: &Plan, stand: &Stand) -> anyhow::Result<Vec<Row>> {
    let (mut window, mut bare) = stand.open(plan, &stand.print).await?;
    let before = stand.server.resident()?;
    let mut rates = Pairs::default();
    for _ in 0..plan.pace.rounds {
        let ours = print(&mut window, &stand.text).await?;
        rates.add(ours, print(&mut bare, &stand.text).await?);
    }
    let grown = stand.server.resident_at_most()? - before;
    Ok(vec![
        Row::paired(
            "cat of 100 MB / in a bare terminal",
            Measure::BytesPerSecond,
            &rates,
        )
        .must(Bar::FigureAtLeast(LEAST_PRINTED)),
        Row::new("– memory grows by", Measure::Bytes(grown)).must(Bar::FigureAtMost(MOST_MEMORY)),
    ])
}

/// Returns how many bytes of a text are seen in a second.
async fn print(terminal: &mut impl Terminal, text: &Path) -> anyhow::Result<f64> {
    // The terminal ends each line with a return too.
    let all = LINES * (LENGTH + 1);
    let begun = Instant::now();
    terminal.type_in(&format!("{}\n", text.display())).await?;
    let mut seen = 0;
    while seen < all {
        seen += u32::try_from(timeout(PATIENCE, terminal.read()).await??.len())?;
    }
    let took = begun.elapsed();
    ensure!(seen == all, "{seen} bytes of {all} were shown");
    Ok(f64::from(LINES * LENGTH) / took.as_secs_f64())
}

/// Prints a large text into a window that takes nothing.
async fn silence(plan: &Plan, stand: &Stand) -> anyhow::Result<Row> {
    let mut window = stand.open_window(&stand.print).await?;
    let before = stand.server.resident()?;
    let line = format!("{}\n", stand.text.display());
    window.type_in(&line).await?;
    sleep(plan.pace.settle).await;
    let grown = stand.server.resident()? - before;
    let waiting = timeout(PATIENCE, window.read()).await??;
    ensure!(!waiting.is_empty(), "nothing was printed");
    let row = Row::new(
        "– memory grows by, where the window takes nothing",
        Measure::Bytes(grown),
    );
    Ok(row.must(Bar::FigureAtMost(MOST_MEMORY)))
}
