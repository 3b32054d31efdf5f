//! Resource limits are named in the error, and never kill by a signal. One
//! test, in a process of its own: limits are the process's.
#![cfg(not(loom))]

use phalanx_shm::{ShmError, Universe, UniverseConfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn with_limit<T>(which: Resource, bytes: u64, body: impl FnOnce() -> T) -> T {
    let before = getrlimit(which);
    let maximum = before.maximum;
    setrlimit(which, Rlimit { current: Some(bytes), maximum }).unwrap();
    let result = body();
    setrlimit(which, before).unwrap();
    result
}

#[test]
fn limits_are_errors_with_both_figures() {
    let config = UniverseConfig { slots: 8, ring_bytes: 4096, heap_bytes: 8 << 30, ways: phalanx_shm::Ways::default() };
    let create = || Universe::create(config);

    let error = with_limit(Resource::Fsize, 1 << 20, create).unwrap_err();
    assert!(matches!(error, ShmError::Limit { limit: "file size", allowed: 1_048_576, .. }));
    assert!(error.is_no_memory());
    assert!(error.to_string().contains("1048576 bytes"), "{error}");

    let error = with_limit(Resource::As, 4 << 30, create).unwrap_err();
    assert!(matches!(error, ShmError::Limit { limit: "address space", .. }), "{error}");

    // The default geometry adapts itself to such limits.
    for which in [Resource::Fsize, Resource::As] {
        let universe = with_limit(which, 4 << 30, || {
            let universe = Universe::create(UniverseConfig::for_ranks(4))?;
            universe.claim_slots(4)?;
            Ok::<_, ShmError>(universe)
        });
        assert_eq!(universe.unwrap().claimed(), 4);
    }
}
