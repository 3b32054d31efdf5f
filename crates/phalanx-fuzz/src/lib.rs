//! Fuzz targets: what each of them is, and how the tests run them.
//!
//! Whatever reads bytes that another process or a file wrote has a target: one function that gives it any bytes. It must not
//! panic, hang or take memory without bound, and what it accepts must be what it says (as a rule: written again, it is read as the same).
//! The targets of a crate stand in its `fuzz.rs`, behind `cfg(any(test, fuzzing))`, so that private readers need not be public.
//!
//! - `cargo test` runs each with its seeds, with what was found before (`regressions/NAME/`) and with some thousands of
//!   changed seeds, the same each time ([`check`]); `PHALANX_FUZZ_CASES` draws more.
//! - `cargo xtask fuzz NAME --minutes N` runs it under libFuzzer, which sees what code an input reaches (`fuzz/`).
//!
//! [`docs/decisions/0029`](../../../docs/decisions/0029-fuzzing.md) has the reasons.

mod memory;
mod mutate;
mod scribble;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use memory::Counting;
pub use mutate::Random;
pub use scribble::{Scribbled, patch};

/// Something that reads bytes of others.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, as it is typed.
    pub name: &'static str,
    /// Whose bytes they are, in words.
    pub what: &'static str,
    /// Reads them, and panics when what comes out cannot be right.
    pub run: fn(&[u8]),
    /// Bytes that are right.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many times as long as that of most a case takes: so many fewer are run.
    pub cost: usize,
}

/// Changed seeds that a test runs, of a target of cost 1.
const CASES: usize = 20_000;
/// Bytes of an input.
pub const LONGEST: usize = 8192;
/// Bytes that a case may have allocated at once.
const MEMORY: usize = 64 << 20;
/// A case that takes so long hangs.
const PATIENCE: Duration = Duration::from_secs(30);

impl Target {
    /// Runs one case.
    ///
    /// # Panics
    /// When the reader is wrong about it, or takes too much memory.
    pub fn one(&self, bytes: &[u8]) {
        let before = memory::begin();
        (self.run)(bytes);
        let most = memory::most_since(before);
        assert!(most <= MEMORY, "{most} bytes of memory for {} bytes of input", bytes.len());
    }

    /// Inputs that were found to be wrong once.
    #[must_use]
    pub fn found_before(&self) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions").join(self.name);
        let mut files: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().flatten().map(|f| f.path()).collect();
        files.sort();
        files.iter().filter_map(|file| fs::read(file).ok()).collect()
    }
}

/// Runs a target for a bounded number of cases, the same each time.
///
/// # Panics
/// When one of them goes wrong: with the command that repeats it.
pub fn check(target: &Target) {
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "the target {} has no seeds", target.name);
    let cases = std::env::var("PHALANX_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES);
    let watch = Watch::start(target);
    let run = |bytes: &[u8]| {
        watch.begin(bytes);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target.one(bytes))) {
            eprintln!("{}", keep(target, bytes));
            resume_unwind(panic);
        }
    };
    seeds.iter().for_each(|seed| run(seed));
    target.found_before().iter().for_each(|seed| run(seed));
    let mut random = Random::new(target.name);
    for _ in 0..cases / target.cost {
        let bytes = random.changed(&seeds, LONGEST);
        run(&bytes);
    }
}

/// Keeps an input that went wrong; says how it is run again.
fn keep(target: &Target, bytes: &[u8]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz-found");
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
    let file = folder.join(format!("{}-{hash:016x}", target.name));
    match fs::create_dir_all(&folder).and_then(|()| fs::write(&file, bytes)) {
        Ok(()) => format!(
            "to repeat it: cargo xtask fuzz {} --input {}\nonce it is mended, keep it: \
             crates/phalanx-fuzz/regressions/{}/",
            target.name,
            file.display(),
            target.name
        ),
        Err(error) => format!("the input could not be kept ({error}): {bytes:?}"),
    }
}

/// Ends the process when a case hangs.
struct Watch(Arc<Mutex<(Instant, Vec<u8>)>>);

impl Watch {
    fn start(target: &Target) -> Watch {
        let state = Arc::new(Mutex::new((Instant::now(), Vec::new())));
        let (seen, target) = (Arc::downgrade(&state), *target);
        std::thread::spawn(move || {
            while let Some(state) = seen.upgrade() {
                let (since, bytes) = state.lock().unwrap_or_else(PoisonError::into_inner).clone();
                drop(state);
                if since.elapsed() > PATIENCE {
                    eprintln!("the target {} hangs; {}", target.name, keep(&target, &bytes));
                    std::process::exit(101);
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Watch(state)
    }

    fn begin(&self, bytes: &[u8]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = Instant::now();
        state.1.clear();
        state.1.extend_from_slice(bytes);
    }
}

/// The targets of a crate, as `TARGETS`, and for each a test of its bounded run.
///
/// ```
/// phalanx_fuzz::targets! {
///     /// Numbers in text.
///     numbers("numbers", "a number that somebody typed", cost 1, [b"12".to_vec()]);
/// }
///
/// fn numbers(bytes: &[u8]) {
///     if let Some(number) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<u32>().ok()) {
///         assert_eq!(number.to_string().parse(), Ok(number));
///     }
/// }
///
/// phalanx_fuzz::check(&TARGETS[0]);
/// ```
#[macro_export]
macro_rules! targets {
    ($($(#[$doc:meta])* $run:ident($name:literal, $what:literal, cost $cost:literal, $seeds:expr);)*) => {
        /// All targets of this crate.
        pub const TARGETS: &[$crate::Target] = &[$(
            $crate::Target { name: $name, what: $what, run: $run, seeds: || $seeds.into(), cost: $cost },
        )*];

        #[cfg(test)]
        mod bounded {
            #[global_allocator]
            static COUNTED: $crate::Counting = $crate::Counting;

            $(
                #[test]
                fn $run() {
                    let target = super::TARGETS.iter().find(|target| target.name == $name).expect("it is in the table");
                    $crate::check(target);
                }
            )*
        }
    };
}
