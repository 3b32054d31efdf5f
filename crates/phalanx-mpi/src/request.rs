//! Requests: waiting, testing, persistent and generalized ones (MPI 5.0 §3.7, §3.9, §13.2).
//!
//! A call takes the requests it works on out of the table and puts back those that remain. Two threads that
//! complete the same request at once, which the standard forbids, find that out instead of corrupting it.

use std::ffi::c_int;

use phalanx_engine::pt2pt::Partitioned;
use phalanx_engine::request::{self as engine, Completer, Generalized, Outcome, Standing, TestAny};
use phalanx_engine::{Error, ErrorClass, Request, Status};
use phalanx_mpi_macros::mpi_entry;
use smallvec::SmallVec;

use crate::consts;
use crate::entry::{Done, ErrorObject, Failure, wrong};
use crate::errors::{self, Handler};
use crate::handle::{Kind, RawComm, RawRequest};
use crate::param::{self, Address, In, Out, OutArray};
use crate::state;
use crate::status::{CStatus, StatusOut, StatusesOut};
use crate::table::Table;

/// What a request handle refers to.
struct Entry {
    /// `None` while some call works on it.
    request: Option<Request>,
    /// The object whose error handler learns of errors.
    on: ErrorObject,
    /// For a generalized request: what completes it, also while somebody waits for it.
    completer: Option<Completer>,
    /// For a partitioned one: what its partitions are told and asked by, also while somebody waits for it.
    partitioned: Option<Partitioned>,
}

static REQUESTS: Table<Entry> = Table::new(Kind::Request);

/// Gives a request a handle. `on` is the communicator, window or file whose error handler learns of its errors.
pub(crate) fn adopt(request: Request, on: ErrorObject) -> Result<RawRequest, Failure> {
    insert(Entry { request: Some(request), on, completer: None, partitioned: None })
}

/// As [`adopt`], for a partitioned request.
pub(crate) fn adopt_partitioned(
    (request, partitioned): (Request, Partitioned),
    on: ErrorObject,
) -> Result<RawRequest, Failure> {
    insert(Entry { request: Some(request), on, completer: None, partitioned: Some(partitioned) })
}

/// What is behind the handle of a partitioned request, with the object that its errors are about.
pub(crate) fn partitioned(raw: RawRequest) -> Result<(Partitioned, ErrorObject), Failure> {
    let mut table = REQUESTS.lock();
    let entry = table.get_mut(Kind::Request, raw.0).ok_or_else(|| bad_request(raw, false))?;
    match &entry.partitioned {
        Some(partitioned) => Ok((partitioned.clone(), entry.on)),
        None => {
            let text = "the request is not a partitioned one: MPI_Psend_init and MPI_Precv_init make those";
            Err(Failure::On(entry.on, Error::new(ErrorClass::Request, text)))
        }
    }
}

fn insert(entry: Entry) -> Result<RawRequest, Failure> {
    let raw = REQUESTS.insert(entry);
    raw.map(RawRequest).ok_or_else(|| wrong(ErrorClass::Other, "too many requests exist; complete or free some"))
}

/// How far a request is that nobody works on.
pub(crate) fn standing(raw: usize) -> Option<Standing> {
    let taken = take(RawRequest(raw)).ok().flatten()?;
    let standing = taken.request.standing().ok();
    put_back([taken]);
    standing
}

/// A request that was taken out of the table.
struct Taken {
    raw: usize,
    request: Request,
    on: ErrorObject,
}

impl Taken {
    fn object(&self) -> ErrorObject {
        self.on
    }
}

#[cold]
fn bad_request(raw: RawRequest, busy: bool) -> Failure {
    let text = if busy {
        "another thread works on the request".to_string()
    } else {
        format!("the request handle 0x{:x} is not valid: it has completed or was freed, or never was a request", raw.0)
    };
    wrong(ErrorClass::Request, text)
}

/// Takes one request out; `None` for the null handle.
fn take(raw: RawRequest) -> Result<Option<Taken>, Failure> {
    Ok(take_all(&[raw])?.pop().flatten())
}

type List = SmallVec<[Option<Taken>; 8]>;

/// Takes requests out, all or none; null handles stay `None`.
fn take_all(handles: &[RawRequest]) -> Result<List, Failure> {
    let mut taken = List::new();
    let mut failure = None;
    {
        let mut table = REQUESTS.lock();
        for raw in handles {
            if *raw == RawRequest::NULL {
                taken.push(None);
                continue;
            }
            match table.get_mut(Kind::Request, raw.0) {
                None => failure = Some(bad_request(*raw, false)),
                Some(entry) => match entry.request.take() {
                    None => failure = Some(bad_request(*raw, true)),
                    Some(request) => {
                        taken.push(Some(Taken { raw: raw.0, request, on: entry.on }));
                        continue;
                    }
                },
            }
            break;
        }
    }
    match failure {
        None => Ok(taken),
        Some(failure) => {
            put_back(taken.into_iter().flatten());
            Err(failure)
        }
    }
}

/// Puts requests back that go on.
fn put_back(requests: impl IntoIterator<Item = Taken>) {
    let mut table = REQUESTS.lock();
    for taken in requests {
        if let Some(entry) = table.get_mut(Kind::Request, taken.raw) {
            entry.request = Some(taken.request);
        }
    }
}

/// After completion: a persistent request stays, and one that goes on after an error; any other is gone and its handle
/// becomes null. Gives the handle's new value.
fn settle(taken: Taken) -> RawRequest {
    if taken.request.is_persistent() || taken.request.is_active() {
        let raw = RawRequest(taken.raw);
        put_back([taken]);
        return raw;
    }
    REQUESTS.remove(taken.raw);
    RawRequest::NULL
}

/// Whether a handle's request is generalized or not matters nowhere else: errors are about its object.
fn failed(object: ErrorObject, error: Error) -> Failure {
    Failure::On(object, error)
}

/// Waits for a request.
#[mpi_entry(MPI_Wait)]
fn wait(request: Out<RawRequest>, status: StatusOut) -> Done {
    let Some(mut taken) = take(request.get())? else {
        status.set_empty();
        return Ok(());
    };
    let object = taken.object();
    match taken.request.wait() {
        Ok(outcome) => {
            request.set(settle(taken));
            status.set(&outcome);
            Ok(())
        }
        Err(error) if error.is_interrupted() => {
            put_back([taken]);
            Err(failed(object, error))
        }
        Err(error) => {
            request.set(settle(taken));
            Err(failed(object, error))
        }
    }
}

/// Completes a request if it is ready.
#[mpi_entry(MPI_Test)]
fn test(request: Out<RawRequest>, flag: Out<c_int>, status: StatusOut) -> Done {
    complete(request, flag, status, Request::test)
}

/// As `MPI_Test`, for a request that the program has let go of: no decision of the program's, which is recorded or repeated.
#[mpi_entry(PHALANX_Test_lost)]
fn test_lost(request: Out<RawRequest>, flag: Out<c_int>, status: StatusOut) -> Done {
    complete(request, flag, status, Request::test_lost)
}

/// Completes a request if it is found to be ready.
fn complete(
    request: Out<RawRequest>,
    flag: Out<c_int>,
    status: StatusOut,
    test: fn(&mut Request) -> phalanx_engine::Result<Option<Status>>,
) -> Done {
    let Some(mut taken) = take(request.get())? else {
        flag.set(1);
        status.set_empty();
        return Ok(());
    };
    let object = taken.object();
    match test(&mut taken.request) {
        Ok(Some(outcome)) => {
            request.set(settle(taken));
            flag.set(1);
            status.set(&outcome);
            Ok(())
        }
        Ok(None) => {
            put_back([taken]);
            flag.set(0);
            Ok(())
        }
        Err(error) => {
            request.set(settle(taken));
            flag.set(1);
            Err(failed(object, error))
        }
    }
}

/// The array of request handles that a call works on.
type Handles = OutArray<RawRequest>;

fn length(count: c_int) -> Result<usize, Failure> {
    param::length(count, ErrorClass::Count, "requests")
}

fn read(handles: &Handles, n: usize) -> Result<List, Failure> {
    handles.need(n, "the array of requests")?;
    let raws: SmallVec<[RawRequest; 16]> = (0..n).map(|i| handles.get(i)).collect();
    take_all(&raws)
}

/// The engine's view of a list.
fn view(list: &mut List) -> Vec<Option<&mut Request>> {
    list.iter_mut().map(|t| t.as_mut().map(|t| &mut t.request)).collect()
}

/// Settles request `i` of a list.
fn settle_at(list: &mut List, handles: &Handles, i: usize) {
    if let Some(taken) = list.get_mut(i).and_then(Option::take) {
        handles.set(i, settle(taken));
    }
}

/// Gives up: everything goes back.
fn withdrawn(list: List, error: Error) -> Failure {
    let object = list.iter().flatten().next().map_or(ErrorObject::None, Taken::object);
    put_back(list.into_iter().flatten());
    failed(object, error)
}

/// The outcome of a call that completed several requests: the statuses have been set, `errors` lists what failed.
fn several(name: &str, statuses: StatusesOut, all: &[usize], errors: Vec<(usize, ErrorObject, Error)>) -> Done {
    let Some((_, object, first)) = errors.first() else {
        return Ok(());
    };
    let (object, first) = (*object, first.clone());
    for i in all {
        statuses.set_error(*i, consts::SUCCESS);
    }
    for (i, _, error) in &errors {
        statuses.set_error(*i, errors::remember(error, name));
    }
    match errors::handler_of(object) {
        // Nobody will look at the statuses: say what happened.
        Handler::Fatal | Handler::Abort => Err(failed(object, first)),
        _ => Err(Failure::Code(object, consts::ERR_IN_STATUS)),
    }
}

/// Stores outcomes of the whole list and settles it.
fn settle_all(name: &str, mut list: List, handles: &Handles, statuses: StatusesOut, outcomes: Vec<Outcome>) -> Done {
    let mut errors = Vec::new();
    let all: Vec<usize> = (0..list.len()).collect();
    for (i, outcome) in outcomes.into_iter().enumerate() {
        let object = list.get(i).and_then(Option::as_ref).map_or(ErrorObject::None, Taken::object);
        match outcome {
            Ok(status) => statuses.at(i).set(&status),
            Err(error) => {
                statuses.at(i).set(&Status::EMPTY);
                errors.push((i, object, error));
            }
        }
        settle_at(&mut list, handles, i);
    }
    several(name, statuses, &all, errors)
}

/// Waits for all.
#[mpi_entry(MPI_Waitall)]
fn waitall(count: c_int, handles: Handles, statuses: StatusesOut) -> Done {
    let mut list = read(&handles, length(count)?)?;
    match engine::wait_all(&mut view(&mut list)) {
        Ok(outcomes) => settle_all("MPI_Waitall", list, &handles, statuses, outcomes),
        Err(error) => Err(withdrawn(list, error)),
    }
}

/// Completes all if all are ready, else none.
#[mpi_entry(MPI_Testall)]
fn testall(count: c_int, handles: Handles, flag: Out<c_int>, statuses: StatusesOut) -> Done {
    let mut list = read(&handles, length(count)?)?;
    match engine::test_all(&mut view(&mut list)) {
        Ok(Some(outcomes)) => {
            flag.set(1);
            settle_all("MPI_Testall", list, &handles, statuses, outcomes)
        }
        Ok(None) => {
            flag.set(0);
            put_back(list.into_iter().flatten());
            Ok(())
        }
        Err(error) => Err(withdrawn(list, error)),
    }
}

/// Settles the one request that has completed; the others go back.
fn settle_one(mut list: List, handles: &Handles, i: usize, status: StatusOut, outcome: Outcome) -> Done {
    let object = list.get(i).and_then(Option::as_ref).map_or(ErrorObject::None, Taken::object);
    settle_at(&mut list, handles, i);
    put_back(list.into_iter().flatten());
    match outcome {
        Ok(done) => {
            status.set(&done);
            Ok(())
        }
        Err(error) => Err(failed(object, error)),
    }
}

/// Waits for one.
#[mpi_entry(MPI_Waitany)]
fn waitany(count: c_int, handles: Handles, index: Out<c_int>, status: StatusOut) -> Done {
    let mut list = read(&handles, length(count)?)?;
    match engine::wait_any(&mut view(&mut list)) {
        Ok(Some((i, outcome))) => {
            index.set(i as c_int);
            settle_one(list, &handles, i, status, outcome)
        }
        Ok(None) => {
            put_back(list.into_iter().flatten());
            index.set(consts::UNDEFINED);
            status.set_empty();
            Ok(())
        }
        Err(error) => Err(withdrawn(list, error)),
    }
}

/// Completes one if one is ready.
#[mpi_entry(MPI_Testany)]
fn testany(count: c_int, handles: Handles, index: Out<c_int>, flag: Out<c_int>, status: StatusOut) -> Done {
    let mut list = read(&handles, length(count)?)?;
    match engine::test_any(&mut view(&mut list)) {
        Ok(TestAny::Done(i, outcome)) => {
            index.set(i as c_int);
            flag.set(1);
            settle_one(list, &handles, i, status, outcome)
        }
        Ok(found) => {
            put_back(list.into_iter().flatten());
            index.set(consts::UNDEFINED);
            let none = matches!(found, TestAny::NoneActive);
            flag.set(none.into());
            if none {
                status.set_empty();
            }
            Ok(())
        }
        Err(error) => Err(withdrawn(list, error)),
    }
}

/// Settles those that have completed; the others go back.
fn settle_some(
    name: &str,
    mut list: List,
    handles: &Handles,
    out: (&Out<c_int>, &OutArray<c_int>, StatusesOut),
    found: Option<Vec<(usize, Outcome)>>,
) -> Done {
    let (outcount, indices, statuses) = out;
    let Some(found) = found else {
        put_back(list.into_iter().flatten());
        outcount.set(consts::UNDEFINED);
        return Ok(());
    };
    outcount.set(found.len() as c_int);
    let all: Vec<usize> = (0..found.len()).collect();
    let mut errors = Vec::new();
    for (at, (i, outcome)) in found.into_iter().enumerate() {
        let object = list.get(i).and_then(Option::as_ref).map_or(ErrorObject::None, Taken::object);
        indices.set(at, i as c_int);
        match outcome {
            Ok(status) => statuses.at(at).set(&status),
            Err(error) => {
                statuses.at(at).set(&Status::EMPTY);
                errors.push((at, object, error));
            }
        }
        settle_at(&mut list, handles, i);
    }
    put_back(list.into_iter().flatten());
    several(name, statuses, &all, errors)
}

/// Waits for at least one.
#[mpi_entry(MPI_Waitsome)]
fn waitsome(
    count: c_int,
    handles: Handles,
    outcount: Out<c_int>,
    indices: OutArray<c_int>,
    statuses: StatusesOut,
) -> Done {
    let n = length(count)?;
    indices.need(n, "the array of indices")?;
    let mut list = read(&handles, n)?;
    match engine::wait_some(&mut view(&mut list)) {
        Ok(found) => settle_some("MPI_Waitsome", list, &handles, (&outcount, &indices, statuses), found),
        Err(error) => Err(withdrawn(list, error)),
    }
}

/// Completes those that are ready.
#[mpi_entry(MPI_Testsome)]
fn testsome(
    count: c_int,
    handles: Handles,
    outcount: Out<c_int>,
    indices: OutArray<c_int>,
    statuses: StatusesOut,
) -> Done {
    let n = length(count)?;
    indices.need(n, "the array of indices")?;
    let mut list = read(&handles, n)?;
    match engine::test_some(&mut view(&mut list)) {
        Ok(found) => settle_some("MPI_Testsome", list, &handles, (&outcount, &indices, statuses), found),
        Err(error) => Err(withdrawn(list, error)),
    }
}

/// The status of one request, which stays; null and inactive requests have the empty one.
fn peek(raw: RawRequest) -> Result<Option<Status>, Failure> {
    let Some(mut taken) = take(raw)? else {
        return Ok(Some(Status::EMPTY));
    };
    let object = taken.object();
    let found = taken.request.get_status();
    put_back([taken]);
    found.map_err(|e| failed(object, e))
}

fn is_active(raw: RawRequest) -> Result<bool, Failure> {
    let Some(taken) = take(raw)? else {
        return Ok(false);
    };
    let active = taken.request.is_active();
    put_back([taken]);
    Ok(active)
}

/// Tells whether a request is ready, without completing it.
#[mpi_entry(MPI_Request_get_status)]
fn request_get_status(request: RawRequest, flag: Out<c_int>, status: StatusOut) -> Done {
    let found = peek(request)?;
    flag.set(found.is_some().into());
    match found {
        Some(_) if request == RawRequest::NULL => status.set_empty(),
        Some(found) => status.set(&found),
        None => {}
    }
    Ok(())
}

/// Tells whether all requests are ready, without completing them.
#[mpi_entry(MPI_Request_get_status_all)]
fn request_get_status_all(count: c_int, requests: In<RawRequest>, flag: Out<c_int>, statuses: StatusesOut) -> Done {
    let requests = requests.read(length(count)?, "the array of requests")?;
    let mut found = Vec::with_capacity(requests.len());
    for raw in requests {
        match peek(*raw)? {
            Some(status) => found.push(status),
            None => {
                flag.set(0);
                return Ok(());
            }
        }
    }
    flag.set(1);
    found.iter().enumerate().for_each(|(i, status)| statuses.at(i).set(status));
    Ok(())
}

/// Looks for a ready request, without completing it.
#[mpi_entry(MPI_Request_get_status_any)]
fn request_get_status_any(
    count: c_int,
    requests: In<RawRequest>,
    index: Out<c_int>,
    flag: Out<c_int>,
    status: StatusOut,
) -> Done {
    let mut any_active = false;
    for (i, raw) in requests.read(length(count)?, "the array of requests")?.iter().enumerate() {
        if !is_active(*raw)? {
            continue;
        }
        any_active = true;
        if let Some(found) = peek(*raw)? {
            index.set(i as c_int);
            flag.set(1);
            status.set(&found);
            return Ok(());
        }
    }
    index.set(consts::UNDEFINED);
    flag.set((!any_active).into());
    if !any_active {
        status.set_empty();
    }
    Ok(())
}

/// Looks for all ready requests, without completing them.
#[mpi_entry(MPI_Request_get_status_some)]
fn request_get_status_some(
    count: c_int,
    requests: In<RawRequest>,
    outcount: Out<c_int>,
    indices: OutArray<c_int>,
    statuses: StatusesOut,
) -> Done {
    let n = length(count)?;
    indices.need(n, "the array of indices")?;
    let mut any_active = false;
    let mut found = 0;
    for (i, raw) in requests.read(n, "the array of requests")?.iter().enumerate() {
        if !is_active(*raw)? {
            continue;
        }
        any_active = true;
        if let Some(status) = peek(*raw)? {
            indices.set(found, i as c_int);
            statuses.at(found).set(&status);
            found += 1;
        }
    }
    outcount.set(if any_active { found as c_int } else { consts::UNDEFINED });
    Ok(())
}

/// Starts a persistent request.
#[mpi_entry(MPI_Start)]
fn start(request: Out<RawRequest>) -> Done {
    start_one(request.get())
}

fn start_one(raw: RawRequest) -> Done {
    let Some(mut taken) = take(raw)? else {
        return Err(wrong(
            ErrorClass::Request,
            "the request is MPI_REQUEST_NULL; only a persistent request can be started",
        ));
    };
    let object = taken.object();
    let outcome = taken.request.start();
    put_back([taken]);
    outcome.map_err(|e| failed(object, e))
}

/// Starts several persistent requests.
#[mpi_entry(MPI_Startall)]
fn startall(count: c_int, requests: Handles) -> Done {
    let n = length(count)?;
    requests.need(n, "the array of requests")?;
    (0..n).try_for_each(|i| start_one(requests.get(i)))
}

/// Asks for the cancellation of a request, which still has to be completed.
#[mpi_entry(MPI_Cancel)]
fn cancel(request: Out<RawRequest>) -> Done {
    let raw = request.get();
    let Some(mut taken) = take(raw)? else {
        return Err(wrong(ErrorClass::Request, "the request is MPI_REQUEST_NULL; there is nothing to cancel"));
    };
    let object = taken.object();
    let outcome = taken.request.cancel();
    put_back([taken]);
    outcome.map_err(|e| failed(object, e))
}

/// Frees a request; what is under way goes on.
#[mpi_entry(MPI_Request_free)]
fn request_free(request: Out<RawRequest>) -> Done {
    let Some(taken) = take(request.get())? else {
        return Err(wrong(ErrorClass::Request, "the request is MPI_REQUEST_NULL; there is nothing to free"));
    };
    let object = taken.object();
    REQUESTS.remove(taken.raw);
    request.set(RawRequest::NULL);
    taken.request.free().map_err(|e| failed(object, e))
}

// Generalized requests.

/// The program's callbacks.
struct Callbacks {
    query: usize,
    free: usize,
    cancel: usize,
    extra: usize,
}

fn callback_outcome(code: c_int, what: &str) -> phalanx_engine::Result<()> {
    if code == consts::SUCCESS {
        return Ok(());
    }
    let class = crate::numbers::class(code).unwrap_or(ErrorClass::Other);
    Err(Error::from_callback(
        code,
        class,
        format!("the {what} function of a generalized request gave error code {code}"),
    ))
}

impl Generalized for Callbacks {
    fn query(&mut self, status: &mut Status) -> phalanx_engine::Result<()> {
        if self.query == 0 {
            return Ok(());
        }
        let mut c = CStatus::of(status);
        // SAFETY: the program gave this address as an MPI_Grequest_query_function.
        let function = unsafe { std::mem::transmute::<usize, extern "C" fn(usize, *mut CStatus) -> c_int>(self.query) };
        let code = function(self.extra, &raw mut c);
        *status = c.to_engine();
        callback_outcome(code, "query")
    }

    fn free(&mut self) -> phalanx_engine::Result<()> {
        if self.free == 0 {
            return Ok(());
        }
        // SAFETY: the program gave this address as an MPI_Grequest_free_function.
        let function = unsafe { std::mem::transmute::<usize, extern "C" fn(usize) -> c_int>(self.free) };
        callback_outcome(function(self.extra), "free")
    }

    fn cancel(&mut self, complete: bool) -> phalanx_engine::Result<()> {
        if self.cancel == 0 {
            return Ok(());
        }
        // SAFETY: the program gave this address as an MPI_Grequest_cancel_function.
        let function = unsafe { std::mem::transmute::<usize, extern "C" fn(usize, c_int) -> c_int>(self.cancel) };
        callback_outcome(function(self.extra, complete.into()), "cancel")
    }
}

/// Makes a request that the program completes itself.
#[mpi_entry(MPI_Grequest_start)]
fn grequest_start(query: Address, free: Address, cancel: Address, extra: Address, request: Out<RawRequest>) -> Done {
    let callbacks = Callbacks { query: query.0, free: free.0, cancel: cancel.0, extra: extra.0 };
    let process = state::need_process()?;
    let (made, completer) = Request::generalized(&process.engine, Box::new(callbacks));
    let on = ErrorObject::Comm(RawComm(consts::COMM_SELF));
    let entry = Entry { request: Some(made), on, completer: Some(completer), partitioned: None };
    request.set(insert(entry)?);
    Ok(())
}

/// Completes a generalized request, for whoever waits for it.
#[mpi_entry(MPI_Grequest_complete)]
fn grequest_complete(request: RawRequest) -> Done {
    let completer = {
        let mut table = REQUESTS.lock();
        let entry = table.get_mut(Kind::Request, request.0).ok_or_else(|| bad_request(request, false))?;
        entry.completer.clone()
    };
    match completer {
        Some(completer) => {
            completer.complete();
            Ok(())
        }
        None => Err(wrong(ErrorClass::Request, "the request is not a generalized request")),
    }
}
