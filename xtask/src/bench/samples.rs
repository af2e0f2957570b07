//! All that was measured: the lines that the programs print, put together.

use std::collections::BTreeMap;

use super::lines::{Beside, Cell, Fields, Lag, Line as _, Memory, Purge, Purged, Size, Written};

/// All lines that were read.
#[derive(Default)]
pub(crate) struct Samples {
    /// Under the part, the subject and the work, in the order of the rounds.
    cells: BTreeMap<[String; 3], Vec<Cell>>,
    /// The cells in the order in which they are to be shown.
    order: Vec<[String; 3]>,
    pub(crate) purges: Vec<Purge>,
    pub(crate) purged: Vec<Purged>,
    /// Under the store and how many rows a transaction had locked, in the order of the rounds; `None` without a
    /// transaction.
    pub(crate) locks: BTreeMap<(String, Option<u32>), Vec<Beside>>,
    pub(crate) sizes: Vec<Size>,
    pub(crate) memory: Vec<Memory>,
    pub(crate) lags: Vec<Lag>,
    /// Under the writer, how many clients it has and the feed, in the order of the rounds.
    pub(crate) writes: BTreeMap<[String; 3], Vec<Written>>,
    pub(crate) versions: BTreeMap<String, String>,
}

/// The middle of several rounds, the lowest and the highest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Samples {
    /// Adds what a program printed. A line of another kind, or half a one, is for people.
    pub(crate) fn read(&mut self, text: &str) {
        for line in text.lines() {
            let mut line = Fields::of(line);
            let kind: String = line.next().unwrap_or_default();
            let _ = self.take(&kind, &mut line);
        }
    }

    /// `None` when the line does not hold what it says.
    fn take(&mut self, kind: &str, line: &mut Fields<'_>) -> Option<()> {
        match kind {
            "web" | "lone" => {
                let [_round, subject, work] = line.texts()?;
                self.add(kind, &subject, &work, Cell::of(line)?);
            }
            "purge" => self.purges.push(Purge::of(line)?),
            "purged" => self.purged.push(Purged::of(line)?),
            "locks" => {
                let [_round, store, locked] = line.texts()?;
                let locked = if locked == "none" { None } else { Some(locked.parse().ok()?) };
                let rounds = self.locks.entry((store, locked)).or_default();
                rounds.push(Beside::of(line)?);
            }
            "size" => self.sizes.push(Size::of(line)?),
            "memory" => self.memory.push(Memory::of(line)?),
            "staleness" => self.lags.push(Lag::of(line)?),
            "feed" => {
                let [_round, writer, clients, feed] = line.texts()?;
                self.writes.entry([writer, clients, feed]).or_default().push(Written::of(line)?);
            }
            "version" => {
                let [server, version] = line.texts()?;
                self.versions.insert(server, version);
            }
            _ => {}
        }
        Some(())
    }

    fn add(&mut self, part: &str, subject: &str, work: &str, cell: Cell) {
        let key = [part, subject, work].map(str::to_owned);
        if !self.cells.contains_key(&key) {
            self.order.push(key.clone());
        }
        self.cells.entry(key).or_default().push(cell);
    }

    /// One number beside locked rows as a ratio to the same beside a transaction that has locked none, round by round.
    pub(crate) fn beside_locks(
        &self,
        store: &str,
        locked: Option<u32>,
        number: fn(&Beside) -> f64,
    ) -> Option<Spread> {
        let of = |locked| self.locks.get(&(store.to_owned(), locked));
        let pairs = of(locked)?.iter().zip(of(Some(0))?);
        Spread::of(pairs.map(|(beside, without)| number(beside) / number(without)))
    }

    /// The rounds of one cell; none when it was not measured.
    pub(crate) fn rounds(&self, part: &str, subject: &str, work: &str) -> &[Cell] {
        self.cells.get(&[part, subject, work].map(str::to_owned)).map_or(&[], Vec::as_slice)
    }

    /// The subjects of a part that were measured, each once.
    pub(crate) fn subjects(&self, part: &str) -> Vec<&str> {
        let mut subjects: Vec<&str> = Vec::new();
        for [of, subject, _] in &self.order {
            if of == part && !subjects.contains(&subject.as_str()) {
                subjects.push(subject);
            }
        }
        subjects
    }
}

impl Spread {
    /// `None` without a number.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        let median = *numbers.get(numbers.len() / 2)?;
        Some(Self { median, low: *numbers.first()?, high: *numbers.last()? })
    }
}

/// Requests per second as a ratio to bare axum's.
pub(crate) fn ratio(rounds: &[Cell]) -> Option<Spread> {
    Spread::of(rounds.iter().map(|cell| cell.rate / cell.bare_rate))
}

/// The median of one number of a cell.
pub(crate) fn median(rounds: &[Cell], number: impl Fn(&Cell) -> f64) -> Option<f64> {
    Spread::of(rounds.iter().map(number)).map(|spread| spread.median)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Three rounds of a cell, and one of another.
    pub(crate) const LINES: &str = "\
version\tPostgreSQL\t15.18
web\t1\tsessile-postgres\tread\t30000.0\t20.0\t10.0\t800.0\t2000.0\t0\t60000.0\t8.0\t300.0\t900.0
web\t2\tsessile-postgres\tread\t40000.0\t21.0\t11.0\t900.0\t2100.0\t1\t50000.0\t8.5\t310.0\t950.0
this is for people
web\t3\tsessile-postgres\tread\t20000.0\t19.0\t9.0\t700.0\t1900.0\t0\t50000.0\t8.2\t305.0\t920.0
web\t1\thand-postgres\tread\t10000.0\t25.0\t29.0\t2100.0\t4000.0\t0\t50000.0\t8.0\t300.0\t900.0
web\t1\thand-postgres\tread\tnot a number
purge\tsessile-postgres\tread\tbefore\t9000\t800.0\t2600.0\t9000.0\t0
purge\tsessile-postgres\tread\tbackground\t8000\t900.0\t6000.0\t12000.0\t0
purged\tsessile-postgres\t1100000\t1000000\t600000\t12.5
size\tpostgres\t10000\tread\t15.0\t5.0
size\tpostgres\t10000000\tread\t18.0\t9.0
memory\tkept by the cache\t100000\t1700\t1500
staleness\tpostgres\tSQL\t64\t20000\t2.0\t2171.0\t4452.0\t8243.0\t9960
feed\t1\tsessile\t8\tnone\t4000.0\t1800.0\t5200.0\t150.000
feed\t1\tsessile\t8\theard by 1 cache\t3000.0\t2400.0\t6000.0\t200.000
feed\t2\tsessile\t8\theard by 1 cache\t2500.0\t2600.0\t7000.0\t210.000
feed\t2\tsessile\t8\tnone\t5000.0\t1600.0\t5000.0\t140.000
feed\t1\tsessile\t8\tnone\t5000.0
";

    pub(crate) fn samples() -> Samples {
        let mut samples = Samples::default();
        samples.read(LINES);
        samples
    }

    #[test]
    fn rounds_of_a_cell_come_to_a_median_and_its_spread() {
        let samples = samples();
        let rounds = samples.rounds("web", "sessile-postgres", "read");
        assert_eq!(rounds.len(), 3);
        assert_eq!(ratio(rounds), Some(Spread { median: 0.5, low: 0.4, high: 0.8 }));
        assert_eq!(median(rounds, |cell| cell.database), Some(10.0));
        assert_eq!(ratio(samples.rounds("web", "sessile-redis", "read")), None);
    }

    #[test]
    fn what_is_no_measurement_is_passed_by() {
        let samples = samples();
        assert_eq!(samples.subjects("web"), ["sessile-postgres", "hand-postgres"]);
        assert_eq!(samples.rounds("web", "hand-postgres", "read").len(), 1);
        assert_eq!(samples.versions["PostgreSQL"], "15.18");
        assert_eq!(samples.purges.len(), 2);
        assert_eq!(samples.sizes.len(), 2);
        assert_eq!(samples.lags.len(), 1);
        assert_eq!(samples.writes.values().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
    }
}
