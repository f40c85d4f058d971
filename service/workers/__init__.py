"""Several processes behind one socket: `python -m service --workers N`.

    supervisor.py   the parent: binds, starts, replaces, relays, drains. It loads no model and answers nobody
    children.py     a worker as the parent holds it: its process and its link
    restarts.py     when to start another in place of one that ended: pure
    activation.py   a version for all workers, in two phases
    totals.py       the metrics of all workers as those of one service: pure
    link.py         questions and answers between the parent and a worker, over a pair of sockets
    task.py         what a worker is told at its start
    worker.py       a worker: the service as it is alone, which asks the parent about the others (relay.py)

**One listening socket, not one each (SO_REUSEPORT).** With a socket each, the kernel deals new connections
out by a hash, whatever the workers are doing: one that hangs or is busy keeps its share waiting, and what is
in its accept queue is reset when it dies. With one, whoever is free takes the next connection, and a worker
that dies loses only those that it had accepted. The price: nothing deals them out evenly. The first to come
takes a connection, so that those which are kept alive may sit unevenly for long; a worker with more of them
has larger batches and a longer line, and refuses earlier.

**Fresh processes, not forks.** The engines have threads, and a fork keeps only the one that called it.

**Metrics are asked for, not shared in files.** `prometheus_client`'s multiprocess mode writes every increment
to a mapped file, cannot show gauges that are read when scraped (the line, bodies, decodes: most of ours) nor
the process's own, and keeps a file for every process that ever was. Here counting costs what it does alone,
and a scrape a question to each worker. What a killed worker counted after the last scrape is lost; no total
ever falls.
"""
