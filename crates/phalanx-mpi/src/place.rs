//! Where the program is that calls: asked for when a wait has lasted long, or when a mistake is told, and never before.
//!
//! Programs of other languages say it themselves ([`extras`]). For C, the stack is walked, and the addresses
//! on it are given names by what their files hold: lines where there is debug information, else functions, else the place in the
//! file. Where Python has called a library that calls MPI, both are told, first the frames of that library.

use std::cell::RefCell;
use std::path::Path;
use std::sync::OnceLock;

use phalanx_engine::Engine;
use phalanx_engine::engine::Frame;

use crate::extras;

/// Addresses that are looked at: behind so many, the program has been called by something else.
const DEPTH: usize = 32;
/// The same where Python has called: a wait runs in a function of the binding's.
const DEEP: usize = 96;
/// Frames that are told.
const TOLD: usize = 8;

/// Lets the engine ask.
pub(crate) fn install(engine: &Engine) {
    engine.set_place_hook(Some(here));
    engine.set_call_place(of_call);
    engine.set_line_hook(line);
}

/// Where this thread's program is, innermost first.
fn here() -> Vec<Frame> {
    if !extras::finds_places() {
        return named(&addresses(), |_| false);
    }
    let mut frames = beneath_python();
    frames.extend(extras::find_place(false));
    frames
}

/// The line that this thread is in, where the program says it. (To walk the stack of a C program at each call would take too long.)
fn line() -> Option<Frame> {
    if extras::finds_places() { extras::find_place(true).into_iter().next() } else { None }
}

/// A place of a call, as far as it has been found out.
enum Place {
    Named(Option<Frame>),
    /// Of a C program: they get their names when somebody asks.
    Addresses(Vec<usize>),
}

thread_local! {
    /// Where the call is that this thread is in, while the program is checked.
    static CALL: RefCell<Place> = const { RefCell::new(Place::Named(None)) };
}

/// Remembers where the call is that begins. No lock is held.
pub(crate) fn call_begins() {
    let place = match extras::finds_places() {
        true => Place::Named(extras::find_place(true).into_iter().next()),
        false => Place::Addresses(addresses()),
    };
    // A thread that is past its end has no place to keep it.
    let _ = CALL.try_with(|call| call.replace(place));
}

/// Where the call is that this thread is in. May be asked under the engine's lock.
pub(crate) fn of_call() -> Option<Frame> {
    let named = CALL.try_with(|call| {
        let mut place = call.try_borrow_mut().ok()?;
        if let Place::Addresses(addresses) = &*place {
            *place = Place::Named(named(addresses, |_| false).into_iter().next());
        }
        match &*place {
            Place::Named(frame) => frame.clone(),
            Place::Addresses(_) => None,
        }
    });
    named.ok().flatten()
}

/// The return addresses on this thread's stack, from this library on.
fn addresses() -> Vec<usize> {
    addresses_to(DEPTH)
}

fn addresses_to(depth: usize) -> Vec<usize> {
    let mut found = Vec::with_capacity(depth);
    backtrace::trace(|frame| {
        found.push(frame.ip().addr());
        found.len() < depth
    });
    found
}

/// The frames of a library that Python has called and that has called this one: none where the binding called.
fn beneath_python() -> Vec<Frame> {
    let modules = modules();
    let module = |address: &usize| modules.iter().find(|module| module.has(address.wrapping_sub(1)));
    let Some(ours) = own_path(&modules) else { return Vec::new() };
    // What is outside of the innermost Python is of another call.
    let mut addresses = addresses_to(DEEP);
    let python = addresses.iter().position(|address| module(address).is_some_and(Module::is_of_python));
    addresses.truncate(python.unwrap_or(addresses.len()));
    // The binding's function in which waits run has called this library, too.
    let called = addresses.iter().rposition(|address| module(address).is_some_and(|module| module.path == ours));
    let binding = extras::place_function();
    named(&addresses[called.map_or(0, |at| at + 1)..], |module| module.has(binding))
}

/// Frames of this library that may lie between a function of the standard and [`caller`].
const OWN: usize = 24;

/// The address to which the call of this library returns: of the innermost frame that is not of this library.
pub(crate) fn caller() -> Option<usize> {
    static RANGE: OnceLock<(usize, usize)> = OnceLock::new();
    let (from, to) = *RANGE.get_or_init(own_range);
    let (mut found, mut looked) = (None, 0);
    backtrace::trace(|frame| {
        let address = frame.ip().addr();
        looked += 1;
        if (from..to).contains(&address.wrapping_sub(1)) {
            return looked < OWN;
        }
        found = Some(address);
        false
    });
    found
}

/// Where the code of this library is.
fn own_range() -> (usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let own = (own_range as fn() -> (usize, usize) as *const ()).addr();
    let module = maps.lines().filter_map(Module::parse).find(|module| module.has(own));
    module.map_or((own, own + 1), |module| (module.from, module.to))
}

/// The place of an address to which a call returns.
pub(crate) fn of_address(address: usize) -> Option<Frame> {
    named(&[address], |_| false).into_iter().next()
}

/// A file that is mapped for execution.
struct Module {
    from: usize,
    to: usize,
    /// What to add to the distance from `from` for the place in the file.
    offset: usize,
    path: String,
}

impl Module {
    /// From a line of `/proc/self/maps`.
    fn parse(line: &str) -> Option<Module> {
        let mut words = line.splitn(6, ' ');
        let (range, rights, offset) = (words.next()?, words.next()?, words.next()?);
        let path = words.nth(2)?.trim_start();
        let (from, to) = range.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        let is_code = rights.contains('x') && path.starts_with('/');
        is_code.then_some(Module {
            from: number(from)?,
            to: number(to)?,
            offset: number(offset)?,
            path: path.to_owned(),
        })
    }

    fn has(&self, address: usize) -> bool {
        (self.from..self.to).contains(&address)
    }

    /// Whether it is the interpreter, or what calls C functions from Python code.
    fn is_of_python(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        ["python", "libpython", "_ctypes.", "_cffi_backend.", "libffi"].iter().any(|start| name.starts_with(start))
    }
}

/// All that is mapped for execution.
fn modules() -> Vec<Module> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(Module::parse).collect()
}

/// The file of this library.
fn own_path(modules: &[Module]) -> Option<&str> {
    let own = (of_address as fn(usize) -> Option<Frame> as *const ()).addr();
    modules.iter().find(|module| module.has(own)).map(|module| &*module.path)
}

/// The frames of the program among these, without those of this library, up to the first in a module for which `ends` holds.
fn named(addresses: &[usize], ends: impl Fn(&Module) -> bool) -> Vec<Frame> {
    let modules = modules();
    let module = |address: usize| modules.iter().find(|module| module.has(address));
    let Some(ours) = own_path(&modules) else { return Vec::new() };
    let mut frames = Vec::new();
    for address in addresses {
        // The call is before the address to which it returns.
        let call = address.wrapping_sub(1);
        let Some(module) = module(call).filter(|module| module.path != ours) else { continue };
        if ends(module) {
            break;
        }
        let frame = frame(call, module);
        let is_last = frame.function == "main";
        frames.push(frame);
        if is_last || frames.len() == TOLD {
            break;
        }
    }
    frames
}

fn frame(call: usize, module: &Module) -> Frame {
    let mut frame = Frame {
        file: format!("{}+{:#x}", module.path, call - module.from + module.offset),
        line: 0,
        function: "a function without a name".to_owned(),
    };
    let mut is_first = true;
    backtrace::resolve(std::ptr::without_provenance_mut(call), |symbol| {
        // What follows is what the first has been inlined into.
        if !std::mem::replace(&mut is_first, false) {
            return;
        }
        if let Some(name) = symbol.name() {
            frame.file.clone_from(&module.path);
            frame.function = format!("{name:#}");
        }
        if let (Some(file), Some(line)) = (symbol.filename().and_then(Path::to_str), symbol.lineno()) {
            frame.file = file.to_owned();
            frame.line = line;
        }
    });
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_code_is_told_from_the_rest() {
        let line = "7f0000001000-7f0000003000 r-xp 00002000 08:01 42       /usr/lib/a file.so";
        let module = Module::parse(line).expect("code of a file");
        assert_eq!((module.from, module.to, module.offset), (0x7f00_0000_1000, 0x7f00_0000_3000, 0x2000));
        assert_eq!(module.path, "/usr/lib/a file.so");
        assert!(module.has(0x7f00_0000_2fff) && !module.has(0x7f00_0000_3000));
        for other in [
            "7f0000001000-7f0000003000 rw-p 00002000 08:01 42 /usr/lib/a.so",
            "7f0000001000-7f0000003000 r-xp 00000000 00:00 0 [vdso]",
            "7f0000001000-7f0000003000 r-xp 00000000 00:00 0 ",
            "nonsense",
            "",
        ] {
            assert!(Module::parse(other).is_none(), "{other}");
        }
    }

    #[test]
    fn no_frame_is_of_this_library() {
        assert!(!addresses().is_empty());
        // In this test all code is of one file.
        let main = std::env::current_exe().expect("a path");
        assert!(named(&addresses(), |_| false).iter().all(|frame| frame.file != main.to_string_lossy()));
    }
}
