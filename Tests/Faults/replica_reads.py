"""Who answers a read: a primary, or one of its replicas."""

from harness.waiting import eventually


def calls(node, command) -> int:
    """How often a node has executed a command."""
    for line in node.command("INFO", "commandstats").decode().splitlines():
        if line.startswith(f"cmdstat_{command}:"):
            return int(line.partition("calls=")[2].partition(",")[0])
    return 0


def reads_from(client, key, node) -> bool:
    """Whether a read of the key goes to this node."""
    before = calls(node, "strlen")
    client.command("STRLEN", key)
    return calls(node, "strlen") > before


def wait_for_replica(client, key, replicas):
    eventually(lambda: any([reads_from(client, key, node) for node in replicas]),
               what="reads from replicas")
