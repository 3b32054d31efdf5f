//! A rank without an engine, for the launcher's tests: `rank STEP...` does what its steps say.
//!
//! | step | meaning |
//! |---|---|
//! | `init`, `finalize` | say so in this rank's slot, as the engine does |
//! | `abort=N` | record `MPI_Abort` with code N in the slot |
//! | `sleep=SECONDS` | wait |
//! | `exit=N` | leave |
//! | `only=RANK` | other ranks skip the rest and sleep until they are ended |

use std::time::Duration;

use phalanx_shm::{ProcId, SlotState, Universe};

fn number(name: &str) -> i64 {
    let text = std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number"))
}

fn universe() -> (Universe, ProcId) {
    let fd = i32::try_from(number("PHALANX_UNIVERSE")).expect("a descriptor");
    let copy = phalanx_shm::inherit::duplicate(fd).expect("the inherited segment");
    let universe = Universe::attach(copy).expect("a universe");
    let world = std::env::var("PHALANX_WORLD").expect("a world");
    let fields: Vec<u32> = world.split(':').map(|field| field.parse().expect("a number")).collect();
    let me = ProcId(fields[0] + fields[2]);
    universe.slot(me).claim(universe.own_tag()).expect("our own slot");
    (universe, me)
}

fn main() {
    let (universe, me) = universe();
    let slot = universe.slot(me);
    for step in std::env::args().skip(1) {
        let (what, value) = step.split_once('=').unwrap_or((&step, "0"));
        let value: f64 = value.parse().expect("a number");
        match what {
            "init" => slot.set_state(SlotState::Running),
            "finalize" => slot.set_state(SlotState::Finalized),
            "abort" => slot.record_abort(value as i32),
            "sleep" => std::thread::sleep(Duration::from_secs_f64(value)),
            "exit" => std::process::exit(value as i32),
            "only" if number("PMI_RANK") != value as i64 => std::thread::sleep(Duration::from_secs(600)),
            "only" => {}
            other => panic!("unknown step {other}"),
        }
    }
}
