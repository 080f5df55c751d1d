//! Line 3: one password derivation, against every library that could do it.

use std::hint::black_box;
use std::num::NonZero;

use anyhow::{Context as _, ensure};
use openssl::hash::MessageDigest;
use proxmenux_monitor::access::passwords::{ITERATIONS, Password, verify_nothing};

use crate::Plan;
use crate::computed;
use crate::sample::median;
use crate::table::{Bar, Measure, Row};

const PASSWORD: &str = "correct horse battery staple";
const SALT: &[u8] = b"0123456789abcdef";

type Key = [u8; 32];
type Derive = fn(u32) -> anyhow::Result<Key>;

const LIBRARIES: &[(&str, Derive)] = &[
    ("ring", with_ring),
    ("aws-lc", with_aws_lc),
    ("OpenSSL", with_openssl),
    ("RustCrypto pbkdf2 0.12", |iterations| {
        Ok(with_pbkdf2_012(iterations))
    }),
    ("RustCrypto pbkdf2 0.13", |iterations| {
        Ok(with_pbkdf2_013(iterations))
    }),
];

/// Measures. Times are those that the thread computed, so that other programs do not count.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    for (name, derive) in LIBRARIES {
        let agrees = derive(1000)? == with_pbkdf2_013(1000);
        ensure!(agrees, "{name} derives another key");
    }
    let password = Password::new(PASSWORD.to_owned());
    let mut ours = Vec::new();
    let mut theirs = Vec::from_iter(LIBRARIES.iter().map(|_| Vec::new()));
    for _ in 0..plan.pace.derivations {
        ours.push(timed(|| {
            let verification = verify_nothing(black_box(&password), ITERATIONS);
            ensure!(verification.derivations == 1, "not one derivation");
            Ok(())
        })?);
        for ((_, derive), times) in LIBRARIES.iter().zip(&mut theirs) {
            times.push(timed(|| {
                black_box(derive(ITERATIONS)?);
                Ok(())
            })?);
        }
    }
    let medians = LIBRARIES.iter().zip(&theirs);
    let medians = Vec::from_iter(medians.map(|((name, _), times)| (*name, median(times))));
    let fastest = medians.iter().min_by(|(_, a), (_, b)| a.total_cmp(b));
    let (fastest, reference) = *fastest.context("no library")?;
    let reference = Measure::Seconds(reference);
    let ours = Row::new(
        format!("one password derivation / the fastest, {fastest}"),
        Measure::Seconds(median(&ours)),
    );
    let mut rows = vec![ours.against(reference).must(Bar::RatioAtMost(1.10))];
    for (name, time) in medians {
        rows.push(
            Row::new(format!("the same by {name}"), Measure::Seconds(time)).against(reference),
        );
    }
    Ok(rows)
}

fn timed(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let before = computed::by_this_thread();
    work()?;
    Ok(computed::by_this_thread() - before)
}

fn with_ring(iterations: u32) -> anyhow::Result<Key> {
    let iterations = NonZero::new(iterations).context("no iterations")?;
    let mut key = Key::default();
    let algorithm = ring::pbkdf2::PBKDF2_HMAC_SHA256;
    ring::pbkdf2::derive(algorithm, iterations, SALT, PASSWORD.as_bytes(), &mut key);
    Ok(key)
}

fn with_aws_lc(iterations: u32) -> anyhow::Result<Key> {
    let iterations = NonZero::new(iterations).context("no iterations")?;
    let mut key = Key::default();
    let algorithm = aws_lc_rs::pbkdf2::PBKDF2_HMAC_SHA256;
    aws_lc_rs::pbkdf2::derive(algorithm, iterations, SALT, PASSWORD.as_bytes(), &mut key);
    Ok(key)
}

fn with_openssl(iterations: u32) -> anyhow::Result<Key> {
    let iterations = usize::try_from(iterations)?;
    let mut key = Key::default();
    let digest = MessageDigest::sha256();
    openssl::pkcs5::pbkdf2_hmac(PASSWORD.as_bytes(), SALT, iterations, digest, &mut key)?;
    Ok(key)
}

fn with_pbkdf2_012(iterations: u32) -> Key {
    let mut key = Key::default();
    pbkdf2_012::pbkdf2_hmac::<sha2_010::Sha256>(PASSWORD.as_bytes(), SALT, iterations, &mut key);
    key
}

fn with_pbkdf2_013(iterations: u32) -> Key {
    let mut key = Key::default();
    pbkdf2::pbkdf2_hmac::<sha2::Sha256>(PASSWORD.as_bytes(), SALT, iterations, &mut key);
    key
}
