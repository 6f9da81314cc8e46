"""Tests that fail through Redpool in front of a cluster, each with its reason.

docs/compatibility.md, "In front of a cluster", says the same to users.
"""

from known import Known

# What a test says that fails for the reason of a whole kind, whatever its name.
KINDS = [
    Known(
        r"", r"",
        "Its keys, or its shard channels, are in several slots.",
        says=r"CROSSSLOT|ClusterCrossSlotError",
        always=False,
    ),
    Known(
        r"", r"",
        "A cluster has database 0 alone.",
        says=r"(SELECT|SWAPDB|MOVE) is not allowed in cluster mode",
        always=False,
    ),
    Known(
        r"", r"",
        "SORT with BY or GET reads keys of any slot, which a cluster refuses.",
        says=r"(BY|GET) option of SORT denied in Cluster mode",
        always=False,
    ),
    Known(
        r"", r"",
        "The command is about one node of the cluster.",
        says=r"is refused by Redpool: it is about one node of a cluster",
        always=False,
    ),
    Known(
        r"", r"",
        "It wants another node to move a slot to, and sees one: Redpool.",
        says=r"No possible target nodes for slot",
        always=False,
    ),
    Known(
        r"", r"",
        "CLUSTER shows one node, which cannot be told to change the cluster.",
        says=r"CLUSTER \w+ is refused by Redpool: send it to the node itself",
        always=False,
    ),
]

# The same of its asynchronous form. An error of the one node leaves it without any to ask.
SEVERAL_NODES_ASYNC = [
    "test_asking_error", "test_connect_invalid_password_supplied",
    "test_connect_no_auth_supplied_when_required", "test_max_connections",
    "test_pipeline_with_default_node_error_command",
]

# Tests of what RedisCluster does with several nodes.
SEVERAL_NODES = [
    "test_cluster_config_resetstat", "test_cluster_reset", "test_cluster_save_config",
    "test_cluster_set_config_epoch", "test_connection_leak_on_non_timeout_error_during_connect",
    "test_default_node_is_replaced_after_exception", "test_dirty_connection_not_reused",
    "test_function_list_on_cluster", "test_initialize_uses_shuffled_startup_nodes",
    "test_replace_cluster_node", "test_return_previously_acquired_connections",
    "test_set_default_node_success", "test_timeout_error_topology_refresh_reuse_connections",
]

KNOWN = KINDS + [
    Known(
        r"redis-py",
        r"::(test_slowlog_get|test_slowlog_get_limit|test_acl_log)(\[.*\])?$",
        "SLOWLOG GET and ACL LOG have the entries of all primaries, up to COUNT of each.",
    ),
    Known(
        r"redis-py .*plain",
        r"::(test_scan|test_scan_type)(\[.*\])?$",
        "SCAN has keys of one primary; it wants all of them from one call.",
    ),
    Known(
        r"redis-py .*plain",
        r"::test_readonly_invalid_cluster_state(\[.*\])?$",
        "READONLY is an error without a cluster.",
    ),
    Known(
        r"redis-py .*plain",
        r"::(test_transaction_with_empty_error_command|test_exec_error_raised)(\[.*\])?$",
        "The keys of its transaction are in several slots: EXECABORT.",
    ),
    Known(
        r"phpredis",
        r"^(testSortAsc|testSortDesc)$",
        "SORT with BY or GET reads keys of any slot, which a cluster refuses.",
    ),
    Known(
        r"phpredis",
        r"^testSwapDB$",
        "A cluster has database 0 alone.",
    ),
    Known(
        r"phpredis",
        r"^testScan$",
        "It counts all keys with INFO, which is one node's.",
    ),
    Known(
        r"redis-py .*RedisCluster",
        rf"::({'|'.join(SEVERAL_NODES)})(\[.*\])?$",
        "It wants a cluster of several nodes, and sees one: Redpool.",
    ),
    Known(
        r"redis-py .*RedisCluster",
        rf"test_asyncio/.*::({'|'.join(SEVERAL_NODES_ASYNC)})\[pool\]$",
        "It wants a cluster of several nodes, and sees one: Redpool.",
        # Which of the tests before has used the node decides for some.
        always=False,
    ),
    Known(
        r"redis-py .*RedisCluster",
        r"::TestClusterKeyspaceNotifications::",
        "A node tells of its own keys only, and a subscription is at one node.",
    ),
]
