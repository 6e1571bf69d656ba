//! What happens in the world, counted.

/// What has happened, so that it can be seen that everything does.
#[derive(Default, Debug)]
pub(super) struct Counts {
    pub arrived: usize,
    pub crashes: usize,
    pub stops: usize,
    pub reloads: usize,
    pub given_up: usize,
    pub tried_again: usize,
    pub suppressed: [usize; 4],
    pub flapping: usize,
    pub held_back_by_rate: usize,
    pub clock_jumps: usize,
    pub steps: usize,
}

impl Counts {
    fn all(&self) -> Vec<usize> {
        let mut all = vec![self.arrived, self.crashes, self.stops, self.reloads, self.given_up, self.tried_again];
        all.extend(self.suppressed);
        all.extend([self.flapping, self.held_back_by_rate, self.clock_jumps, self.steps]);
        all
    }

    pub fn all_happened(&self) -> bool {
        self.all().iter().all(|count| *count > 0)
    }

    pub fn add(&mut self, other: &Counts) {
        self.arrived += other.arrived;
        self.crashes += other.crashes;
        self.stops += other.stops;
        self.reloads += other.reloads;
        self.given_up += other.given_up;
        self.tried_again += other.tried_again;
        self.suppressed.iter_mut().zip(other.suppressed).for_each(|(all, more)| *all += more);
        self.flapping += other.flapping;
        self.held_back_by_rate += other.held_back_by_rate;
        self.clock_jumps += other.clock_jumps;
        self.steps += other.steps;
    }
}
