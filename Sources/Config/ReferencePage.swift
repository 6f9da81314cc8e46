// Writes docs/configuration.md from the schema.

extension Config {
    /// The text of `docs/configuration.md`: the rules of the file and a table of every key.
    package static func referencePage() -> String {
        [
            introduction,
            "## Keys of a pool\n\nThey belong in `pools.<name>`. All but `listen`, `upstream`, "
                + "`sentinels`,\n`primaryName` and `cluster` may also be in `defaults`, which is "
                + "for every pool; a pool's\nown value overrides it.\n\n"
                + table(of: Schema.poolKeys),
            "## Keys at the top of the file\n\n" + table(of: Schema.globalKeys),
            "## Keys of `log`\n\n" + table(of: Schema.logKeys),
            "## Keys of `admin`\n\n" + table(of: Schema.adminKeys),
            "## Keys of `http`\n\n" + table(of: Schema.httpKeys),
            rules,
        ].joined(separator: "\n\n") + "\n"
    }

    private static let introduction = """
        # Configuration

        Redpool reads one YAML file, `redpool run --config FILE`. The smallest useful one:

        ```yaml
        pools: {main: {listen: 127.0.0.1:6380, upstream: 127.0.0.1:6379}}
        ```

        `config/redpool.yaml` has every key with its default. `redpool check FILE` reports every
        mistake at once, each with its place, and prints the effective configuration of a file that
        has none: every key, its value, and where the value comes from. `redpool check` alone checks
        the file that `redpool run` reads, `redpool check -` standard input.

        ```
        redpool.yaml:6:5: pools.main.maxopen: unknown key (did you mean maxOpen?)
        redpool.yaml:7:18: pools.main.idleTimeout: 300 has no unit (did you mean 300s?)
        redpool.yaml:9:14: pools.main.maxIdle: 40 is more than maxOpen (32, from defaults at line 3)
        redpool.yaml:12:1: found unexpected end of stream while scanning a quoted scalar that began at 3:13
        ```

        The check also looks at the machine. Errors: a `socketGroup` that does not exist, and a unix
        socket in `listen` whose directory does not exist (`/run/redpool` may be missing: the service
        makes it); the same for `admin`. Warnings: a name in `denyCommands` that no server knows, a `passwordFile` that every
        user or not even the user `redpool` can read, and more `threads` than a pool can use. Names
        with a dot, such as `FT.SEARCH`, are not looked up. `redpool run` logs the warnings as
        `config.warning`.

        A file has a mapping `pools` of names to pools, at least one, and may have `defaults`, `log`,
        `admin`, `http` and the keys for the whole process. A pool's name is 1 to 32 of the characters a-z, 0-9, `_`
        and `-`.

        - **Durations** are whole numbers with a unit, `ms`, `s`, `m` or `h`, the largest first:
          `800ms`, `1m30s`.
        - **Sizes** are whole numbers with a unit, `b`, `kb`, `mb` or `gb`; `1kb` is 1024 bytes.
        - **Booleans** are `true` or `false`; `yes`, `on` and the like are refused.
        - **Lists** of one element may be written as the element alone. A list replaces the one from
          `defaults` and the default; it is not added to them.
        - **Commands** are names in any letter case; a space or `|` stands between a command and its
          subcommand: `SCRIPT DEBUG`, `script|debug`.
        - **Text** that begins with `*`, `[` or another character that YAML uses needs quotes:
          `"*:6380"`, `"[::1]:6380"`.
        - Anchors, aliases, tags, merge keys, block text, a second document, a key that appears
          twice, and files longer than 1 MiB are refused.

        A running daemon reads the file again on SIGHUP ([operations](operations.md#reload)). The
        column *Change* says what that does: *live*, open connections follow the new value at once;
        *graceful*, surplus connections are closed when they become idle, and no client is cut;
        *new connections*, open ones keep the old value until they close, and upstreams that were
        opened with another password close as soon as they are free; *structural*, listeners or
        pools are added and removed, and the clients of a removed listener are drained; *move*,
        clients go to the new server, user or database as soon as nothing of theirs is in flight at
        the old one; *restart*, nothing changes before the next start, and the key is listed as
        pending.
        """

    private static let rules = """
        ## Rules between keys

        - `minIdle` <= `maxIdle` <= `maxOpen`, and `maxPinned` < `maxOpen`. Redpool lowers
          a default that would break the rule, but not a value from `defaults`. The default of
          `maxPinned` is 1 if `maxOpen` is 2, and 0 if it is 1.
        - No two pools may listen on the same address, and none on the address of an upstream.
        - `pingInterval` should be less than `idleTimeout`; otherwise there is a warning.
        - An address to listen on is numeric, `localhost` (which is `127.0.0.1`) or `*` (every
          address of the machine). An upstream may be a host name.
        - `redis://` without a port means 6379. A password in the URL is refused: it belongs in
          `passwordFile`. `rediss://` and `valkeys://` are the same with TLS; see [TLS](tls.md).
        - An address to listen on with TLS, `rediss://host:port`, needs `listenCertFile` and
          `listenKeyFile`. The other addresses of the pool are without TLS.
        - A user, in `username` or in the URL, needs a `passwordFile`. A user in the URL overrides one
          from `defaults`; a different one in the same pool is an error. A relative `passwordFile`
          is relative to the directory of the configuration file. Its first line is the password. Both
          files must be regular files, not a FIFO or a device. The same holds for `clientPasswordFile` and
          `clientUsersFile`.
        - A pool has one of `upstream`, `sentinels` and `cluster`. With `sentinels` belong `primaryName` and, if
          needed, `primaryTls`, `primaryDatabase`, `sentinelUsername`, `sentinelPasswordFile` and
          `sentinelTls`; a pool without `sentinels` may have none of them, but for values from
          `defaults`, which it ignores. `username` and `passwordFile` are for the servers, never for
          the Sentinels. Each host in `sentinels` may be a name, which stands for all its addresses;
          at most 8 Sentinels are asked. See [Sentinel](sentinel.md).
        - With `cluster` belong `crossSlot`, `clusterRefresh`, `maxNodes`, `clusterCommands` and
          `announce`; other pools ignore values from `defaults`. Its addresses are written as in
          `upstream`, without a database or a unix socket; all have TLS or none, and at most one
          user. Each host may be a name, which stands for all its addresses. `maxOpen`, `maxPinned`,
          `maxIdle` and `minIdle` hold for each node. The limit of open files has to have room for
          the clients and for `maxOpen` connections to each of `maxNodes` nodes. A pool that changes
          between `cluster` and another source, or to nodes of which none was named before, is a new
          pool: its clients are closed as those of a removed pool, and connect again.
          See [Cluster](cluster.md).
        - `reads` and `maxReplicaLag` belong with `sentinels` or `cluster`; a pool with `upstream` ignores
          values from `defaults`. They are about [reads from replicas](cluster.md#reads-from-replicas). With
          `sentinels`, the limit of open files has to have room for `maxOpen` connections to each of 16 replicas.
        - A pool that lends its clients a login (`passwordFile`, `tlsCertFile`) or a place (its
          `upstream` is a loopback address, a name that `/etc/hosts` has for one, or a unix socket;
          or it has `sentinels` or `cluster`, which may name such a server)
          may listen only on 127.0.0.0/8, `::1` and unix sockets, unless it has
          `clientPasswordFile`, `clientUsersFile` or `allowUnauthenticated: true`
          ([Who may come in](operations.md#who-may-come-in)). Where clients have to log in, the
          last has no effect.
        """

    private static func table(of specs: [KeySpec]) -> String {
        let head = "| Key | Default | Values | Meaning | Change |\n| --- | --- | --- | --- | --- |"
        let rows = specs.map { spec in
            let cells = [
                "`\(spec.key.name)`", standard(spec.standard), spec.kind.range, spec.doc,
                spec.reload.rawValue,
            ]
            return "| " + cells.joined(separator: " | ") + " |"
        }
        return ([head] + rows).joined(separator: "\n")
    }

    private static func standard(_ standard: Standard) -> String {
        switch standard {
        case .required: "required"
        case .depends(let rule): rule
        case .text(let text): text.isEmpty ? "`\"\"`" : "`\(text)`"
        case .list(let texts): texts.map { "`\($0)`" }.joined(separator: ", ")
        case .derived(_, let rule): rule
        }
    }
}
