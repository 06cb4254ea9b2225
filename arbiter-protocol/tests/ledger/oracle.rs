//! A dumb ledger, written from the rules and from nothing else: numbers, names and lists. It shares no code
//! with the books that it judges.

use std::collections::BTreeMap;

/// Who acts: an index into the cast. 0 is the ledger itself.
pub type Who = usize;

/// One payment as the rules see it.
#[derive(Clone, Debug)]
pub struct Deal {
    pub here: bool,
    pub payer: Who,
    pub payee: Who,
    pub units: u64,
    pub code: &'static str,
    pub scale: u8,
    /// Until when, and whether the time-out posts.
    pub hold: Option<(u64, bool)>,
    pub authority: Option<Who>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Make,
    Post(u64),
    Void,
}

/// State, entry, time.
pub type Told = (String, u64, u64);

#[derive(Clone, Debug, Default)]
struct Purse {
    code: String,
    scale: u8,
    free: i128,
    closed: bool,
    opened_at: (u64, u64),
    closed_at: (u64, u64),
}

#[derive(Clone, Debug, Default)]
struct Life {
    made: Option<(u64, u64)>,
    end: Option<(String, u64, u64)>,
}

#[derive(Clone, Debug)]
pub struct Oracle {
    deals: Vec<Deal>,
    lives: BTreeMap<usize, Life>,
    /// By who and, of the ledger's own, by currency.
    purses: BTreeMap<(Who, String), Purse>,
    pub entries: u64,
    now: u64,
    longest: u64,
    grace: u64,
}

impl Oracle {
    pub fn new(deals: Vec<Deal>, longest: u64) -> Self {
        let (lives, purses) = (BTreeMap::new(), BTreeMap::new());
        Self { deals, lives, purses, entries: 0, now: 1, longest, grace: 0 }
    }

    pub fn give_grace(&mut self, until: u64) {
        self.grace = until;
    }

    fn key(who: Who, code: &str, scale: u8) -> (Who, String) {
        (who, if who == 0 { format!("{code}{scale}") } else { String::new() })
    }

    fn next(&mut self) -> (u64, u64) {
        self.entries += 1;
        (self.entries, self.now)
    }

    /// Time passes; then what is due ends, the earliest first, equals by their rank.
    pub fn tick(&mut self, now: u64, rank: &[usize]) {
        self.now = self.now.max(now);
        loop {
            let mut due: Vec<_> = self
                .lives
                .iter()
                .filter(|(_, life)| life.made.is_some() && life.end.is_none())
                .map(|(deal, _)| (self.deals[*deal].hold.unwrap().0, rank[*deal], *deal))
                .filter(|(until, ..)| *until <= self.now && self.grace <= self.now)
                .collect();
            due.sort_unstable();
            let Some(&(_, _, deal)) = due.first() else { return };
            let units = self.deals[deal].units;
            let posted = if self.deals[deal].hold.unwrap().1 { Some(units) } else { None };
            self.finish(deal, posted);
        }
    }

    fn finish(&mut self, deal: usize, posted: Option<u64>) {
        let Deal { payer, payee, units, code, scale, .. } = self.deals[deal].clone();
        let got = posted.unwrap_or(0);
        self.purses.get_mut(&Self::key(payee, code, scale)).unwrap().free += i128::from(got);
        self.purses.get_mut(&Self::key(payer, code, scale)).unwrap().free += i128::from(units - got);
        let (entry, time) = self.next();
        let state = posted.map_or("voided".to_owned(), |units| format!("posted {units}"));
        self.lives.get_mut(&deal).unwrap().end = Some((state, entry, time));
    }

    pub fn order(&mut self, deal: usize, verb: Verb, by: Who) -> Result<Told, &'static str> {
        let Deal { here, payer, payee, units, code, scale, hold, authority } = self.deals[deal].clone();
        if !here {
            return Err("OTHER_LEDGER");
        }
        let allowed = match verb {
            Verb::Make => by == payer,
            Verb::Post(part) => Some(by) == authority || (by == payer && part == units),
            Verb::Void => by == payee || Some(by) == authority,
        };
        if !allowed {
            return Err("SIGNER_NOT_ENTITLED");
        }
        if let Some(life) = self.lives.get(&deal).cloned() {
            if verb == Verb::Make {
                let Some((entry, time)) = life.made else { return Err("PAYMENT_VOIDED") };
                let state = if hold.is_some() { "reserved".to_owned() } else { format!("posted {units}") };
                return Ok((state, entry, time));
            }
            let wanted = match verb {
                Verb::Post(units) => format!("posted {units}"),
                _ => "voided".to_owned(),
            };
            return match life.end {
                Some(end) if end.0 == wanted => Ok(end),
                Some(end) if end.0 == "voided" => Err("PAYMENT_VOIDED"),
                Some(_) => Err("PAYMENT_POSTED"),
                None => {
                    self.finish(deal, if let Verb::Post(units) = verb { Some(units) } else { None });
                    Ok(self.lives[&deal].end.clone().unwrap())
                }
            };
        }
        if let Verb::Post(_) = verb {
            return Err("PAYMENT_ABSENT");
        }
        if verb == Verb::Void {
            let (entry, time) = self.next();
            let end = ("voided".to_owned(), entry, time);
            self.lives.insert(deal, Life { made: None, end: Some(end.clone()) });
            return Ok(end);
        }
        for who in [payer, payee] {
            let Some(purse) = self.purses.get(&Self::key(who, code, scale)) else {
                return Err(if who == 0 { "CURRENCY_UNKNOWN" } else { "ACCOUNT_UNKNOWN" });
            };
            if purse.code != code {
                return Err("CURRENCY_MISMATCH");
            }
            if purse.scale != scale {
                return Err("SCALE_MISMATCH");
            }
        }
        if [payer, payee].iter().any(|who| self.purses[&Self::key(*who, code, scale)].closed) {
            return Err("ACCOUNT_CLOSED");
        }
        if let Some((until, _)) = hold {
            if until <= self.now {
                return Err("HOLD_OVER");
            }
            if until > self.now + self.longest {
                return Err("HOLD_TOO_LONG");
            }
        }
        let purse = self.purses.get_mut(&Self::key(payer, code, scale)).unwrap();
        let floor = if payer == 0 { -(1 << 62) } else { 0 };
        if purse.free - i128::from(units) < floor {
            return Err(if payer == 0 { "CIRCULATION_FULL" } else { "INSUFFICIENT_FUNDS" });
        }
        purse.free -= i128::from(units);
        let (entry, time) = self.next();
        let mut life = Life { made: Some((entry, time)), end: None };
        let mut state = "reserved".to_owned();
        if hold.is_none() {
            self.purses.get_mut(&Self::key(payee, code, scale)).unwrap().free += i128::from(units);
            state = format!("posted {units}");
            life.end = Some((state.clone(), entry, time));
        }
        self.lives.insert(deal, life);
        Ok((state, entry, time))
    }

    pub fn look(&self, deal: usize) -> Result<Told, &'static str> {
        if !self.deals[deal].here {
            return Err("OTHER_LEDGER");
        }
        Ok(match self.lives.get(&deal) {
            None => ("absent".to_owned(), 0, self.now),
            Some(Life { end: Some(end), .. }) => end.clone(),
            Some(Life { made, .. }) => ("reserved".to_owned(), made.unwrap().0, made.unwrap().1),
        })
    }

    pub fn open(&mut self, who: Who, code: &str, scale: u8) -> Result<Told, &'static str> {
        let issued = self.purses.get(&Self::key(0, code, scale)).is_some_and(|purse| !purse.closed);
        let key = Self::key(who, code, scale);
        match self.purses.get(&key) {
            Some(purse) if purse.code != code => Err("CURRENCY_MISMATCH"),
            Some(purse) if purse.scale != scale => Err("SCALE_MISMATCH"),
            Some(purse) if purse.closed => Err("ACCOUNT_CLOSED"),
            Some(purse) => Ok(("open".to_owned(), purse.opened_at.0, purse.opened_at.1)),
            None if who != 0 && !issued => Err("CURRENCY_UNKNOWN"),
            None => {
                let at = self.next();
                let purse = Purse { code: code.to_owned(), scale, opened_at: at, ..Purse::default() };
                self.purses.insert(key, purse);
                Ok(("open".to_owned(), at.0, at.1))
            }
        }
    }

    pub fn close(&mut self, who: Who, code: &str, scale: u8) -> Result<Told, &'static str> {
        let key = Self::key(who, code, scale);
        let Some(purse) = self.purses.get(&key).cloned() else { return Err("ACCOUNT_UNKNOWN") };
        if purse.code != code {
            return Err("CURRENCY_MISMATCH");
        }
        if purse.scale != scale {
            return Err("SCALE_MISMATCH");
        }
        if !purse.closed {
            let (mut out, mut coming) = (0, 0);
            for (deal, _) in self.lives.iter().filter(|(_, life)| life.end.is_none()) {
                let it = &self.deals[*deal];
                out += u64::from(Self::key(it.payer, it.code, it.scale) == key) * it.units;
                coming += u64::from(Self::key(it.payee, it.code, it.scale) == key) * it.units;
            }
            if purse.free != 0 || out != 0 || coming != 0 {
                return Err("ACCOUNT_NOT_EMPTY");
            }
            let at = self.next();
            let purse = self.purses.get_mut(&key).unwrap();
            (purse.closed, purse.closed_at) = (true, at);
        }
        let (entry, time) = self.purses[&key].closed_at;
        Ok(("closed".to_owned(), entry, time))
    }

    /// Available, reserved and incoming of every account: by who, and of the ledger's own by currency.
    pub fn balances(&self) -> BTreeMap<(Who, String), (i128, u128, u128)> {
        let mut all: BTreeMap<_, _> =
            self.purses.iter().map(|(key, purse)| (key.clone(), (purse.free, 0, 0))).collect();
        for (deal, _) in self.lives.iter().filter(|(_, life)| life.end.is_none()) {
            let it = &self.deals[*deal];
            all.get_mut(&Self::key(it.payer, it.code, it.scale)).unwrap().1 += u128::from(it.units);
            all.get_mut(&Self::key(it.payee, it.code, it.scale)).unwrap().2 += u128::from(it.units);
        }
        all
    }
}
