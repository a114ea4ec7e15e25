import Martlet

/// The parsers of `MartletMetadata`.
let metadataTargets: [FuzzTarget] = [
    FuzzTarget("MetadataRecord") { input in
        let record = try NodeMetadata(input)
        let again = try NodeMetadata(record.encoded)
        expect(again == record, "a record is read back from its encoding")
    },

    FuzzTarget("MetadataMessage") { input in
        let message = try MetadataMessage(input)
        let again = try MetadataMessage(message.encoded)
        expect(again == message, "a message is read back from its encoding")
    },
]
