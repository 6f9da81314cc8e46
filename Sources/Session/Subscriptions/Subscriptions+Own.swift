// What Redpool sends on a hub by itself: it unsubscribes what nobody wants, and subscribes anew
// what is wanted and not there.

extension Subscriptions {
    /// Something of the entry has changed: sees what follows from it. It may be gone afterwards.
    mutating func touch(_ number: Int) {
        let hub = entries[number].hub
        if entries[number].isOver { return remove(number) }
        if entries[number].steady != entries[number].reported, !entries[number].isUnsteady {
            entries[number].isUnsteady = true
            unsteady.append(UInt32(number))
        }
        guard hubs[hub]?.state == .open else { return }
        if isUnwanted(number), !entries[number].isUnwanted {
            entries[number].isUnwanted = true
            hubs[hub]![unwanted: entries[number].kind].append(UInt32(number))
            setRestless(hub)
        }
        // Only when an UNSUBSCRIBE behind one that was refused has gone through.
        if isMissing(number), !entries[number].isSubscribedAnew {
            entries[number].isSubscribedAnew = true
            hubs[hub]!.anew.append([UInt32(number)])
            setRestless(hub)
        }
    }

    /// A name is not unsubscribed while an ask that concerns it is open: the ask may be refused.
    private func isUnwanted(_ number: Int) -> Bool {
        entries[number].wanted == 0 && entries[number].openAsks == 0
            && entries[number].willBeSubscribed && !entries[number].isStuck
    }

    private func isMissing(_ number: Int) -> Bool {
        entries[number].wanted > 0 && entries[number].openAsks == 0
            && !entries[number].willBeSubscribed
    }

    private mutating func remove(_ number: Int) {
        let hub = entries[number].hub
        setStuck(number, false)
        reportNothing(number)
        entries.remove(number)
        hubs[hub]?.entries -= 1
        setRestless(hub)
    }

    mutating func setRestless(_ hub: HubRef) {
        guard let known = hubs[hub], !known.isRestless else { return }
        hubs[hub]!.isRestless = true
        restless.append(hub)
    }

    mutating func send(
        _ verb: SubscribeVerb, _ names: [[UInt8]], _ numbers: [UInt32], on hub: HubRef,
        for purpose: Send.Purpose
    ) {
        var names = names
        var numbers = numbers
        if verb == .sunsubscribe, let name = names.last, let number = numbers.last,
            number != Send.noEntry
        {
            // When the slot moves away, the server says the same by itself for each name once, and
            // then refuses the command. What is in it twice tells the two apart.
            names.append(name)
            numbers.append(number)
        }
        actions.append(.send(hub, verb, names))
        hubs[hub]!.sends.append(
            Send(verb: verb, names: names, entries: numbers, purpose: purpose))
        for number in numbers where number != Send.noEntry {
            let number = Int(number)
            entries[number].openSends += 1
            entries[number].isSubscribing = !verb.isEnd
            touch(number)
        }
    }

    /// Sends one command, if there is one to send.
    mutating func sendOwn(_ hub: HubRef) -> Bool {
        guard hubs[hub]?.state == .open else { return false }
        return sendAnew(hub) || sendUnwanted(hub, .channel) || sendUnwanted(hub, .pattern)
            || sendUnwanted(hub, .shard)
    }

    func sendsAnew(_ number: UInt32, on hub: HubRef) -> Bool {
        let number = Int(number)
        return entries.has(number) && entries[number].hub == hub
            && entries[number].isSubscribedAnew
    }

    private mutating func sendAnew(_ hub: HubRef) -> Bool {
        while let list = hubs[hub]!.anew.popFirst() {
            var batch: Batch?
            for number in list where sendsAnew(number, on: hub) {
                let number = Int(number)
                entries[number].isSubscribedAnew = false
                guard entries[number].wanted > 0, !entries[number].willBeSubscribed else {
                    continue
                }
                if batch == nil { batch = Batch(entries[number].kind.begin) }
                batch?.add(entries[number].name, number)
            }
            guard let batch else { continue }
            send(batch.verb, batch.names, batch.entries, on: hub, for: .anew)
            return true
        }
        return false
    }

    private mutating func sendUnwanted(_ hub: HubRef, _ kind: SubscriptionKind) -> Bool {
        var batch = Batch(kind.end)
        while !batch.isFull, !hubs[hub]![unwanted: kind].isEmpty {
            let number = Int(hubs[hub]![unwanted: kind].first)
            let isIt =
                entries.has(number) && entries[number].hub == hub
                && entries[number].isUnwanted && isUnwanted(number)
            if isIt, !batch.isFit(entries[number].name) { break }
            _ = hubs[hub]![unwanted: kind].popFirst()
            if entries.has(number), entries[number].hub == hub, entries[number].kind == kind {
                entries[number].isUnwanted = false
            }
            if isIt { batch.add(entries[number].name, number) }
        }
        guard !batch.names.isEmpty else { return false }
        send(batch.verb, batch.names, batch.entries, on: hub, for: .unwanted)
        return true
    }
}
