// Why a hand-over file is refused.

/// Each has an exact text, which an operator sees behind "upgrade refused:".
package enum HandOverError: Error, Equatable, Sendable {
    /// It does not begin as a hand-over file does.
    case notHandOver
    /// It was written in a version of the format that this program does not read.
    case version(UInt32)
    /// It has another length than it says.
    case length(UInt64, says: UInt64)
    /// It, or what it is to hold, is longer than a file may be.
    case tooLong(UInt64)
    case tooManySections(UInt32)
    case checksum
    /// A section that whoever does not know it must refuse.
    case unknownSection(String)
    case missingSection(String)
    case repeatedSection(String)
    case endsInMiddle(section: String)
    /// The section has bytes behind its last value.
    case goesOn(section: String)
    /// There cannot be so many: bytes for them are not there, or a limit is passed.
    case count(UInt64, of: String)
    /// Bytes that are longer than their limit.
    case size(UInt64, of: String, most: Int)
    /// A word, or a number in place of a choice, that this program does not know.
    case unknownWord(String, of: String)
    case notText(section: String)
    /// A number that is none of its kind.
    case number(UInt64, of: String)
    /// A position at which there is nothing.
    case reference(UInt32, to: String)
    /// Two things have the same number.
    case twice(UInt64, of: String)
    /// Two parts of the file do not fit together.
    case contradiction(String)
}

extension HandOverError {
    /// The text for people.
    ///
    /// - Parameter reader: the version of the program that has read the file.
    package func text(reader: String) -> String {
        switch self {
        case .notHandOver: "this is not a hand-over file"
        case .version(let version):
            "\(reader) does not read hand-over version \(version) (it reads "
                + "\(HandOverFile.readableText))"
        case .length(let length, let says):
            "the hand-over file has \(length) bytes, but says that it has \(says)"
        case .tooLong(let length):
            "\(length) bytes are more than a hand-over file may have (\(HandOverFile.mostBytes))"
        case .tooManySections(let count):
            "\(count) sections are more than a hand-over file may have "
                + "(\(HandOverFile.mostSections))"
        case .checksum: "the checksum of the hand-over file is wrong"
        case .unknownSection(let tag): "section \(tag) is not known, and may not be left out"
        case .missingSection(let tag): "section \(tag) is missing"
        case .repeatedSection(let tag): "section \(tag) comes twice"
        case .endsInMiddle(let section): "section \(section) ends in the middle"
        case .goesOn(let section): "section \(section) goes on behind its end"
        case .count(let count, let what): "count \(count) of \(what) is more than fits"
        case .size(let size, let what, let most):
            "a \(what) of \(size) bytes is longer than \(most)"
        case .unknownWord(let word, let what): "\(what) \(word) is not known"
        case .notText(let section): "section \(section) has text that is not UTF-8"
        case .number(let number, let what): "\(what) \(number) is out of range"
        case .reference(let position, let what): "there is no number \(position) of \(what)"
        case .twice(let number, let what): "\(what) \(number) is there twice"
        case .contradiction(let text): text
        }
    }
}
