"""Several processes behind one port: `python -m service --workers N`.

    supervisor.py   the parent: starts, replaces, relays, drains. It loads no model and answers nobody
    children.py     a worker as the parent holds it: its process and its link
    restarts.py     when to start another in place of one that ended: pure
    activation.py   a version for all workers, in two phases
    totals.py       the metrics of all workers as those of one service: pure
    link.py         questions and answers between the parent and a worker, over a pair of sockets
    assignment.py   what a worker is told at its start
    worker.py       a worker: the service as it is alone, which asks the parent about the others (relay.py)

**A listening socket each (SO_REUSEPORT), not one for all.** With one, whoever wakes first takes every
connection that waits: of 64 that were opened at once, two workers took 32 and 32 at best, 0 and 64 at worst;
and where they are kept alive they stay so, with one queue long and the other idle. With a socket each, the
kernel deals them out by a hash, evenly but for chance (25 and 39 at worst of ten times), whatever the workers
are doing. The price: what is in the accept queue of a worker that dies is reset, with what it had accepted;
that queue is empty unless its loop is busy. The parent holds no socket that listens, so that a dead worker's
share goes to the others at once.

**Fresh processes, not forks.** The engines have threads, and a fork keeps only the one that called it.

**Metrics are asked for, not shared in files.** `prometheus_client`'s multiprocess mode writes every increment
to a mapped file, cannot show gauges that are read when scraped (the line, bodies, decodes: most of ours) nor
the process's own, and keeps a file for every process that ever was. Here counting costs what it does alone,
and a scrape a question to each worker. What a killed worker counted after the last scrape is lost; no total
ever falls.
"""
