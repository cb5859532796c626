//! How the right to read goes from hand to hand. No I/O: what is read is behind
//! a trait, and who is to be woken is told, so that a model checker can drive
//! this code.

use std::sync::Arc;

use crate::error::Error;

/// What can be read by one at a time.
pub(super) trait Readable {
    /// How many bytes were read and not taken in.
    fn held(&self) -> usize;

    /// Nobody reads for a while: keep nothing that is not in use.
    fn rest(&mut self);

    /// Whether the runtime will hear when there is more.
    fn is_armed(&self) -> bool;

    /// Let the runtime hear when there is more.
    fn arm(&mut self);

    /// It has heard.
    fn fired(&mut self);

    /// Let it not hear: somebody reads.
    fn disarm(&mut self);

    /// Ask for a tick.
    fn want_tick(&self);
}

/// Where the right to read is.
enum Place<I> {
    /// Nobody reads.
    Free(Box<I>),
    /// Somebody does.
    Taken,
    /// There is nothing to read any more.
    Ended(StreamEnd),
}

/// Who reads, and who would.
pub(super) struct Reading<I, B> {
    place: Place<I>,
    /// Threads that sleep; each of them can take the lead.
    asleep: Vec<Sleeping<B>>,
    /// How many of them were woken, and have not run since.
    waking: usize,
    /// Bells to ring once the lock is free: whoever wakes up wants it.
    to_ring: Vec<Arc<B>>,
    /// Whether the host looks at the descriptor instead of waiting. Then no
    /// byte may wait unseen.
    pub is_exported: bool,
    /// From the connection's end on only the runtime reads.
    is_draining: bool,
    /// Whether it is the runtime's turn.
    is_runtimes_turn: bool,
    is_ticking: bool,
    /// Whether a thread has put the right to read back since the last tick.
    was_led: bool,
}

/// Which bell it is, for who does not keep it. The next bell at its address may
/// have the same: then a thread looks for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BellId(usize);

impl BellId {
    pub fn of<B>(bell: &Arc<B>) -> Self {
        Self(Arc::as_ptr(bell).addr())
    }
}

/// A thread that sleeps.
struct Sleeping<B> {
    bell: Arc<B>,
    /// It is about to wake up, look, and take the lead or pass it on.
    is_woken: bool,
}

/// How reading ended.
#[derive(Clone, Debug)]
pub(super) enum StreamEnd {
    /// Whoever held the other end of stdout has closed it.
    Closed,
    /// What came could not be told apart any more.
    Broken(Error),
}

impl<I: Readable, B> Reading<I, B> {
    /// There is nothing to read, or not yet.
    pub fn none() -> Self {
        Self {
            place: Place::Taken,
            asleep: Vec::new(),
            waking: 0,
            to_ring: Vec::new(),
            is_exported: false,
            is_draining: false,
            is_runtimes_turn: false,
            is_ticking: false,
            was_led: false,
        }
    }

    /// There is something to read now.
    pub fn begin(&mut self, input: I) {
        self.place = Place::Free(Box::new(input));
    }

    /// Take the right to read, if it is free.
    pub fn take(&mut self) -> Option<Box<I>> {
        match std::mem::replace(&mut self.place, Place::Taken) {
            Place::Free(mut input) => {
                // Here and not later: what the runtime hears while the input
                // is away would be taken for still to come.
                input.disarm();
                Some(input)
            }
            other => {
                self.place = other;
                None
            }
        }
    }

    /// A thread of the host puts the right to read back. It passes it on, too.
    pub fn put_back(&mut self, input: Box<I>) {
        self.place = Place::Free(input);
        self.was_led = true;
    }

    /// There is nothing to read any more.
    pub fn finish(&mut self, end: StreamEnd) {
        self.place = Place::Ended(end);
    }

    /// How reading ended, if it has.
    pub fn end(&self) -> Option<&StreamEnd> {
        match &self.place {
            Place::Ended(end) => Some(end),
            Place::Free(_) | Place::Taken => None,
        }
    }

    /// Wake every thread that sleeps.
    pub fn wake_all(&mut self) {
        (0..self.asleep.len()).for_each(|at| self.wake_at(at));
    }

    /// Wake the thread behind `bell`. If it does not sleep it will look before
    /// it does.
    pub fn wake(&mut self, bell: BellId) {
        if let Some(at) = self.place_of(bell) {
            self.wake_at(at);
        }
    }

    fn wake_at(&mut self, at: usize) {
        let sleeping = &mut self.asleep[at];
        if !std::mem::replace(&mut sleeping.is_woken, true) {
            self.to_ring.push(Arc::clone(&sleeping.bell));
            self.waking += 1;
        }
    }

    /// Ring these, too.
    pub fn ring_too(&mut self, bells: &mut Vec<Arc<B>>) {
        self.to_ring.append(bells);
    }

    /// Whether somebody is to be woken.
    pub fn has_rings(&self) -> bool {
        !self.to_ring.is_empty()
    }

    /// The bells to ring as soon as the lock is free.
    pub fn take_rings(&mut self) -> Vec<Arc<B>> {
        std::mem::take(&mut self.to_ring)
    }

    /// Whether no thread sleeps.
    pub fn is_nobody_asleep(&self) -> bool {
        self.asleep.is_empty()
    }

    /// How many threads were woken and have not run since.
    pub fn waking(&self) -> usize {
        self.waking
    }

    /// A thread goes to sleep. In the same moment it has seen that there is
    /// nothing for it, and that it cannot take the lead.
    pub fn goes_to_sleep(&mut self, bell: &Arc<B>) {
        self.asleep.push(Sleeping { bell: Arc::clone(bell), is_woken: false });
    }

    /// It is awake.
    pub fn wakes_up(&mut self, bell: &Arc<B>) {
        if let Some(at) = self.place_of(BellId::of(bell)) {
            self.waking -= usize::from(self.asleep.swap_remove(at).is_woken);
        }
    }

    fn place_of(&self, bell: BellId) -> Option<usize> {
        self.asleep.iter().position(|sleeping| BellId::of(&sleeping.bell) == bell)
    }

    /// From now on only the runtime reads.
    pub fn drain(&mut self) {
        self.is_draining = true;
        self.wake_all();
    }

    /// Whether that is so.
    pub fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// If the right to read is free, see that somebody takes it: a thread that
    /// sleeps, or else the runtime. Whether the runtime must be woken for that.
    pub fn pass_on(&mut self, may_lead: bool) -> bool {
        if !matches!(self.place, Place::Free(_)) {
            return false;
        }
        if self.is_draining {
            return true;
        }
        if !may_lead {
            // Whoever makes room passes it on.
            return false;
        }
        if let Some(last) = self.asleep.len().checked_sub(1) {
            if self.waking == 0 {
                self.wake_at(last);
            }
        } else if self.is_exported {
            self.give_to_runtime();
        } else if !self.is_ticking {
            // Not at once: most likely the next call is on its way.
            self.want_tick();
        }
        self.is_runtimes_turn
    }

    fn want_tick(&mut self) {
        if let Place::Free(input) = &self.place {
            self.is_ticking = true;
            input.want_tick();
        }
    }

    /// Let the runtime read: at once if there is something to take in already,
    /// else when more arrives.
    fn give_to_runtime(&mut self) {
        let Place::Free(input) = &self.place else { return };
        if input.is_armed() {
            return;
        }
        if input.held() > 0 {
            self.is_runtimes_turn = true;
        } else {
            self.arm();
        }
    }

    fn arm(&mut self) {
        if let Place::Free(input) = &mut self.place {
            input.rest();
            input.arm();
        }
    }

    /// There is more to read, and the runtime has heard.
    pub fn fired(&mut self) {
        if let Place::Free(input) = &mut self.place {
            input.fired();
        }
        self.is_runtimes_turn = true;
    }

    /// Whether somebody reads.
    pub fn is_taken(&self) -> bool {
        matches!(self.place, Place::Taken)
    }

    /// It is the runtime's turn, unless somebody reads.
    pub fn let_runtime_look(&mut self) {
        self.is_runtimes_turn |= matches!(self.place, Place::Free(_));
    }

    /// Take the right to read for the runtime, if it is its turn and it may.
    pub fn take_for_runtime(&mut self, may_lead: bool) -> Option<Box<I>> {
        if std::mem::take(&mut self.is_runtimes_turn) && may_lead { self.take() } else { None }
    }

    /// The runtime puts the right to read back. Whether it must be woken again.
    pub fn put_back_for_runtime(
        &mut self,
        input: Box<I>,
        found_some: bool,
        may_lead: bool,
    ) -> bool {
        self.place = Place::Free(input);
        if !self.asleep.is_empty() || !may_lead || self.is_draining {
            return self.pass_on(may_lead);
        }
        if found_some {
            // There may be more; others have their turn before.
            self.is_runtimes_turn = true;
        } else {
            self.arm();
        }
        self.is_runtimes_turn
    }

    /// A tick has passed: let the runtime read if no thread has for a while.
    /// Whether another tick is wanted, and whether the runtime must be woken.
    pub fn tick(&mut self, may_lead: bool) -> (bool, bool) {
        let was_led = std::mem::take(&mut self.was_led);
        match &self.place {
            Place::Free(_) if was_led => return (true, false),
            Place::Free(_) if may_lead && self.asleep.is_empty() => self.give_to_runtime(),
            _ => {}
        }
        self.is_ticking = false;
        (false, self.is_runtimes_turn)
    }
}

/// A model of the threads around [`Reading`]: callers that lead, follow and give
/// up, a server that answers in any order, and the runtime. shuttle runs it in
/// many orders of their steps; a lost wake-up is a deadlock that it finds.
#[cfg(test)]
mod model {
    use std::collections::{BTreeSet, VecDeque};

    use shuttle::rand::Rng;
    use shuttle::sync::{Condvar, Mutex};
    use shuttle::thread;

    use super::*;

    const CALLERS: usize = 3;

    /// What threads sleep on: the pipe, bells, and the runtime's interest.
    #[derive(Default)]
    struct Kernel {
        pipe: VecDeque<usize>,
        rung: [bool; CALLERS],
        is_armed: bool,
        is_ticking: bool,
        is_kicked: bool,
        gone: usize,
    }

    struct World {
        kernel: Mutex<Kernel>,
        changed: Condvar,
        state: Mutex<State>,
    }

    enum Step {
        Leave,
        Read,
        Sleep,
    }

    struct State {
        reading: Reading<Input, Bell>,
        bells: Vec<Arc<Bell>>,
        answers: BTreeSet<usize>,
    }

    struct Bell {
        world: std::sync::Weak<World>,
        owner: usize,
    }

    struct Input {
        world: std::sync::Weak<World>,
        /// Answers that were read.
        held: Vec<usize>,
        /// One that is to be received by who has the right to read.
        batch: Option<usize>,
        is_armed: bool,
    }

    impl World {
        fn new(is_exported: bool) -> Arc<Self> {
            Arc::new_cyclic(|world| {
                let bell = |owner| Arc::new(Bell { world: world.clone(), owner });
                let mut reading = Reading::none();
                reading.is_exported = is_exported;
                reading.begin(Input {
                    world: world.clone(),
                    held: Vec::new(),
                    batch: None,
                    is_armed: false,
                });
                let bells = (0..CALLERS).map(bell).collect();
                Self {
                    kernel: Mutex::default(),
                    changed: Condvar::new(),
                    state: Mutex::new(State { reading, bells, answers: BTreeSet::new() }),
                }
            })
        }

        fn kernel<T>(&self, change: impl FnOnce(&mut Kernel) -> T) -> T {
            let result = change(&mut self.kernel.lock().unwrap());
            self.changed.notify_all();
            result
        }

        fn kick_if(&self, is_runtimes_turn: bool) {
            if is_runtimes_turn {
                self.kernel(|kernel| kernel.is_kicked = true);
            }
        }

        /// As `Shared::state` does it: bells ring when the lock is free.
        fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
            let mut state = self.state.lock().unwrap();
            let result = change(&mut state);
            let rings = state.reading.take_rings();
            drop(state);
            rings.iter().for_each(|bell| bell.ring());
            result
        }

        /// Read two answers at most, if none is left, and prepare one of them.
        /// Whether there was one.
        fn read(&self, input: &mut Input) -> bool {
            if input.held.is_empty() {
                let arrived = self.kernel(|kernel| {
                    let portion = kernel.pipe.len().min(2);
                    kernel.pipe.drain(..portion).collect::<Vec<_>>()
                });
                input.held.extend(arrived);
            }
            input.batch = input.held.pop();
            input.batch.is_some()
        }

        /// As `Shared::wait_for` does it.
        fn call(&self, caller: usize, is_impatient: bool) {
            let bell = self.state(|state| Arc::clone(&state.bells[caller]));
            let (mut lead, mut is_asleep, mut may_sleep) = (None::<Box<Input>>, false, false);
            loop {
                let step = self.state(|state| {
                    if std::mem::take(&mut is_asleep) {
                        state.reading.wakes_up(&bell);
                    }
                    lead.iter_mut().for_each(|input| state.receive(input));
                    let gives_up = is_impatient && shuttle::rand::thread_rng().gen_bool(0.3);
                    if state.answers.remove(&caller) || gives_up {
                        lead.take().into_iter().for_each(|input| state.reading.put_back(input));
                        self.kick_if(state.reading.pass_on(true));
                        return Step::Leave;
                    }
                    lead = lead.take().or_else(|| state.reading.take());
                    if lead.is_some() && !may_sleep {
                        return Step::Read;
                    }
                    state.reading.goes_to_sleep(&bell);
                    is_asleep = true;
                    Step::Sleep
                });
                match (step, &mut lead) {
                    (Step::Leave, _) => break,
                    (Step::Read, Some(input)) => may_sleep = !self.read(input),
                    _ => {
                        may_sleep = false;
                        self.sleep(caller, lead.is_some(), is_impatient);
                    }
                }
            }
            self.kernel(|kernel| kernel.gone += 1);
        }

        /// poll(2): on the bell, on the pipe if this thread leads, and on time.
        fn sleep(&self, caller: usize, leads: bool, is_impatient: bool) {
            let mut kernel = self.kernel.lock().unwrap();
            while !(kernel.rung[caller] || (leads && !kernel.pipe.is_empty()) || is_impatient) {
                kernel = self.changed.wait(kernel).unwrap();
            }
            kernel.rung[caller] = false;
        }

        /// Serve until the callers have gone and, if `reads_all`, all is read.
        fn run(&self, reads_all: bool) {
            loop {
                let mut kernel = self.kernel.lock().unwrap();
                let has_fired = |kernel: &Kernel| kernel.is_armed && !kernel.pipe.is_empty();
                while !(has_fired(&kernel) || kernel.is_ticking || kernel.is_kicked) {
                    if kernel.gone == CALLERS && !(reads_all && self.is_something_unread(&kernel)) {
                        return;
                    }
                    kernel = self.changed.wait(kernel).unwrap();
                }
                let fired = has_fired(&kernel);
                kernel.is_armed &= !fired;
                let ticks = std::mem::take(&mut kernel.is_ticking);
                kernel.is_kicked = false;
                drop(kernel);
                if fired {
                    self.state(|state| state.reading.fired());
                }
                if ticks {
                    let (more, kick) = self.state(|state| state.reading.tick(true));
                    self.kernel(|kernel| {
                        kernel.is_ticking |= more;
                        kernel.is_kicked |= kick;
                    });
                }
                let input = self.state(|state| state.reading.take_for_runtime(true));
                if let Some(mut input) = input {
                    let found = self.read(&mut input);
                    self.state(|state| {
                        state.receive(&mut input);
                        self.kick_if(state.reading.put_back_for_runtime(input, found, true));
                    });
                }
            }
        }

        fn is_something_unread(&self, kernel: &Kernel) -> bool {
            !kernel.pipe.is_empty()
        }
    }

    impl State {
        fn receive(&mut self, input: &mut Input) {
            let Some(answer) = input.batch.take() else { return };
            self.answers.insert(answer);
            self.reading.wake(BellId::of(&self.bells[answer]));
        }
    }

    impl Bell {
        fn ring(&self) {
            let world = self.world.upgrade().unwrap();
            world.kernel(|kernel| kernel.rung[self.owner] = true);
        }
    }

    impl Readable for Input {
        fn held(&self) -> usize {
            self.held.len()
        }

        fn rest(&mut self) {
            let is_empty = self.held.is_empty() && self.batch.is_none();
            assert!(is_empty, "what was read and not taken in would be lost");
        }

        fn is_armed(&self) -> bool {
            self.is_armed
        }

        fn arm(&mut self) {
            self.is_armed = true;
            self.world.upgrade().unwrap().kernel(|kernel| kernel.is_armed = true);
        }

        fn fired(&mut self) {
            self.is_armed = false;
        }

        fn disarm(&mut self) {
            self.is_armed = false;
            self.world.upgrade().unwrap().kernel(|kernel| kernel.is_armed = false);
        }

        fn want_tick(&self) {
            self.world.upgrade().unwrap().kernel(|kernel| kernel.is_ticking = true);
        }
    }

    /// Callers of which some give up, and a server that answers all of them.
    fn run(is_exported: bool, impatient: [bool; CALLERS]) {
        let world = World::new(is_exported);
        let caller = |(caller, is_impatient): (usize, bool)| {
            let world = Arc::clone(&world);
            thread::spawn(move || world.call(caller, is_impatient))
        };
        let callers: Vec<_> = impatient.into_iter().enumerate().map(caller).collect();
        let server = Arc::clone(&world);
        let server = thread::spawn(move || {
            let first = shuttle::rand::thread_rng().gen_range(0..CALLERS);
            for n in 0..CALLERS {
                server.kernel(|kernel| kernel.pipe.push_back((first + n) % CALLERS));
            }
        });
        let runtime = Arc::clone(&world);
        let runtime = thread::spawn(move || {
            // Whoever looks at the descriptor must not miss what nobody waits for.
            runtime.state(|state| runtime.kick_if(state.reading.pass_on(true)));
            runtime.run(true);
        });
        callers.into_iter().chain([server, runtime]).for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn every_caller_gets_its_answer_in_any_order_of_steps() {
        shuttle::check_random(|| run(false, [false; CALLERS]), 600);
        shuttle::check_pct(|| run(false, [false; CALLERS]), 600, 4);
    }

    #[test]
    fn a_leader_that_gives_up_leaves_the_lead_to_others() {
        shuttle::check_random(|| run(false, [true, false, true]), 600);
        shuttle::check_pct(|| run(true, [true, false, false]), 600, 4);
    }

    #[test]
    fn what_nobody_waits_for_is_read_by_the_runtime() {
        shuttle::check_random(|| run(true, [true; CALLERS]), 600);
        shuttle::check_pct(|| run(false, [true; CALLERS]), 600, 4);
    }
}
