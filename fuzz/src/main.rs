//! The fuzz targets of all crates, under libFuzzer: `cargo xtask fuzz` builds and runs it.
//!
//! `PHALANX_FUZZ_TARGET` names the target, `PHALANX_FUZZ_SEEDS` a folder in which its seeds are laid down first. Without a target it
//! lists all.

#![cfg_attr(fuzzing, no_main)]

#[cfg(any(test, fuzzing))]
mod objects;

#[cfg(fuzzing)]
mod fuzzing {
    use std::fs;
    use std::path::PathBuf;
    use std::process::exit;
    use std::sync::OnceLock;

    use phalanx_fuzz::{Counting, Target};

    #[global_allocator]
    static COUNTED: Counting = Counting;

    static CHOSEN: OnceLock<Target> = OnceLock::new();

    fn all() -> impl Iterator<Item = &'static Target> {
        let crates = [
            phalanx_pmi::fuzz::TARGETS,
            phalanx_wire::fuzz::TARGETS,
            phalanx_waits::fuzz::TARGETS,
            phalanx_shm::fuzz::TARGETS,
            phalanx_engine::fuzz::TARGETS,
            phalanx_launcher::fuzz::TARGETS,
            phalanx_pool::fuzz::TARGETS,
            phalanx_trace::fuzz::TARGETS,
            phalanx_replay::fuzz::TARGETS,
            crate::objects::TARGETS,
        ];
        crates.into_iter().flatten()
    }

    fn choose() {
        let wanted = std::env::var("PHALANX_FUZZ_TARGET").unwrap_or_default();
        let Some(target) = all().find(|target| target.name == wanted) else {
            all().for_each(|target| println!("{:16} {}", target.name, target.what));
            exit(if wanted.is_empty() { 0 } else { 2 });
        };
        if let Some(folder) = std::env::var_os("PHALANX_FUZZ_SEEDS").map(PathBuf::from) {
            let seeds = (target.seeds)().into_iter().chain(target.found_before());
            for (at, seed) in seeds.enumerate() {
                if let Err(error) = fs::write(folder.join(format!("seed-{at}")), seed) {
                    eprintln!("{}: {error}", folder.display());
                    exit(2);
                }
            }
        }
        let _ = CHOSEN.set(*target);
    }

    libfuzzer_sys::fuzz_target!(
        init: choose(),
        |bytes: &[u8]| {
            if let Some(target) = CHOSEN.get() {
                target.one(bytes);
            }
        }
    );
}

#[cfg(not(fuzzing))]
fn main() {
    eprintln!("cargo xtask fuzz builds and runs this");
    std::process::exit(2);
}
