"""The core: runs, nodes, calls, endpoints, and the scheduler over them. Sans-IO."""
