//! The runs: what is played, and how it must end.

/// One run of a story.
#[derive(Debug)]
pub struct Run {
    /// Which story.
    pub story: &'static str,
    /// What goes wrong in it.
    pub cheat: &'static str,
    /// What happens, in one sentence.
    pub plot: &'static str,
    /// How it must end.
    pub ends: Ends,
    /// Whether both behave and nothing breaks: the arbiter must then not be called at all.
    pub honest: bool,
}

/// Who must hold the other's item in the end. There is no third fair way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Both hold what was agreed, or the arbiter's replacement of it.
    Both,
    /// Neither holds anything, and never will.
    Nobody,
    /// One of the two, depending on who is faster.
    Either,
}

const fn run(story: &'static str, cheat: &'static str, ends: Ends, plot: &'static str) -> Run {
    Run { story, cheat, plot, ends, honest: false }
}

const fn honest(story: &'static str, cheat: &'static str, plot: &'static str) -> Run {
    Run { story, cheat, plot, ends: Ends::Both, honest: true }
}

/// Every run, in the order of playing.
pub const RUNS: &[Run] = &[
    honest(
        "contract",
        "honest",
        "Northwind and Tailspin sign a contract and swap their signatures. Nobody asks the arbiter.",
    ),
    run(
        "contract",
        "quiet",
        Ends::Both,
        "Tailspin takes Northwind's signature and goes quiet. The arbiter opens the escrow: Tailspin's own signature.",
    ),
    run(
        "contract",
        "witnessed",
        Ends::Both,
        "The same, and a witness cosigns the log: the bundle is good without the arbiter, and an auditor reads the whole log.",
    ),
    run(
        "contract",
        "same-signature",
        Ends::Both,
        "Tailspin's RSA signature, made by OpenSSL, is handed over once and taken out of escrow once: the same file.",
    ),
    run(
        "contract",
        "replacement",
        Ends::Both,
        "By agreement without escrow: Tailspin goes quiet, and the arbiter's verdict stands for its signature.",
    ),
    run(
        "contract",
        "race",
        Ends::Either,
        "Northwind aborts behind Tailspin's back while Tailspin asks for its due. One verdict, the same for both.",
    ),
    run(
        "contract",
        "altered",
        Ends::Both,
        "First Tailspin's copy differs by one byte: refused before anything is signed. Then Tailspin signs another text.",
    ),
    run(
        "contract",
        "arbiter-killed",
        Ends::Both,
        "Tailspin goes quiet, and the arbiter is killed again and again while it rules on Northwind's complaint.",
    ),
    run(
        "contract",
        "peer-killed",
        Ends::Both,
        "Northwind is killed right after its signature left. Started again, it goes on where it stopped.",
    ),
    honest(
        "delivery",
        "honest",
        "Adler delivers a notice to Contoso against a signed receipt. Nobody asks the arbiter.",
    ),
    honest(
        "delivery",
        "honest-request",
        "The other way round: Contoso offers its receipt for a notice that Adler described, and gets the notice.",
    ),
    run(
        "delivery",
        "receipt-withheld",
        Ends::Both,
        "Contoso reads the notice and withholds the receipt. Adler deposits the notice; the arbiter opens the receipt's escrow.",
    ),
    run(
        "delivery",
        "package-withheld",
        Ends::Both,
        "A notice and an invoice for two receipts, all or none. Contoso reads both and goes quiet; one verdict opens both escrows.",
    ),
    run(
        "delivery",
        "sender-withholds",
        Ends::Nobody,
        "Adler never sends the notice. Contoso waits for the complaint deadline and gets an abort token.",
    ),
    run(
        "delivery",
        "text-swapped",
        Ends::Nobody,
        "Adler sends another text than agreed, to Contoso and to the arbiter. Both refuse it by its hash.",
    ),
    run(
        "delivery",
        "late-taker",
        Ends::Both,
        "Adler keeps the notice from Contoso and takes the receipt from the arbiter at the last moment.",
    ),
    run(
        "delivery",
        "arbiter-killed",
        Ends::Both,
        "Contoso withholds the receipt, and the arbiter is killed again and again during deposit and ruling.",
    ),
    run(
        "delivery",
        "peer-killed",
        Ends::Both,
        "Adler is killed right after the notice left. Started again, it gets its receipt.",
    ),
    run(
        "swap",
        "honest",
        Ends::Both,
        "Two files change hands. By agreement both go through the arbiter, which gives them out when it has both.",
    ),
    run(
        "swap",
        "partner-vanishes",
        Ends::Nobody,
        "Trey leaves its file with the arbiter, Woodgrove does not. Nobody gets anything.",
    ),
    honest(
        "purchase",
        "honest",
        "Wide World Maps buys a data file from Fabrikam. The money is held, then Fabrikam's. Nobody asks the arbiter.",
    ),
    honest(
        "purchase",
        "honest-sale",
        "The other way round: Fabrikam offers the file for money, and Wide World Maps pays.",
    ),
    run(
        "purchase",
        "seller-vanishes",
        Ends::Nobody,
        "Fabrikam sees the money held and goes quiet. The arbiter has all of it returned.",
    ),
    run(
        "purchase",
        "wrong-file",
        Ends::Nobody,
        "Fabrikam sends a file with one other byte. It counts as nothing, and the money goes back.",
    ),
    run(
        "purchase",
        "ledger-killed",
        Ends::Nobody,
        "Fabrikam goes quiet, and the ledger is dead when the arbiter rules. Started again, it is told, and returns the money.",
    ),
    run(
        "purchase",
        "buyer-killed",
        Ends::Both,
        "Wide World Maps dies with the file on its way. Fabrikam hears nothing more, and leaves the file with the arbiter.",
    ),
    run(
        "purchase",
        "payer-gone",
        Ends::Both,
        "The same with money that was set aside first: the arbiter has the ledger pay Fabrikam. Wide World still gets the file.",
    ),
    honest(
        "purchase",
        "in-parts",
        "The price and its tax go to two accounts of Fabrikam, both or none. Nobody asks the arbiter.",
    ),
    run(
        "purchase",
        "parts-unpaid",
        Ends::Nobody,
        "There is money for the price and not for the tax. Fabrikam gives nothing, and the arbiter has the price returned.",
    ),
    run(
        "purchase",
        "parts-withheld",
        Ends::Nobody,
        "Fabrikam sees both payments held and goes quiet. The arbiter has both of them returned.",
    ),
    run(
        "purchase",
        "parts-killed",
        Ends::Both,
        "Wide World Maps dies when the first payment is made. Started again, it orders both: the first is not made twice.",
    ),
    run(
        "purchase",
        "parts-payer-gone",
        Ends::Both,
        "Wide World Maps dies with the file on its way. Fabrikam leaves the file with the arbiter, and both payments stand.",
    ),
    honest(
        "payment",
        "honest",
        "Humongous Retail pays an invoice of Adatum Power against a signed receipt. Nobody asks the arbiter.",
    ),
    run(
        "payment",
        "receipt-withheld",
        Ends::Both,
        "Adatum takes the money and withholds the receipt. The ledger's word is enough for the arbiter to open its escrow.",
    ),
    run(
        "payment",
        "payee-gone",
        Ends::Both,
        "The same with money that was set aside first (P1): the arbiter opens the escrow, for what the ledger had set aside.",
    ),
    honest(
        "change",
        "honest",
        "Trey changes euros for dollars with Woodgrove: one payment held, one made at once. Nobody asks the arbiter.",
    ),
    run(
        "change",
        "partner-vanishes",
        Ends::Nobody,
        "Woodgrove sees the euros held and pays nothing. The arbiter has all of them returned.",
    ),
    honest(
        "transfer",
        "file",
        "Fourth Coffee gives Litware a file, and wants nothing for it. Nobody asks the arbiter, and nobody could.",
    ),
    honest(
        "transfer",
        "signature",
        "Fourth Coffee gives Litware its signature on a file, and wants nothing for it.",
    ),
    honest("transfer", "money", "Fourth Coffee gives Litware money, and wants nothing for it."),
];
