"""Online steps through a real server process, by a real client process, beside what they can be compared with.

    python -m benchmarks.online --json [--shapes R1] [--sessions 1,8,64,256,1024] [--regimes streams,...] [--quick]

A step is one token of one session, and asks for the five best next tokens. Three processes share the machine: the
server, the client that makes the load (`benchmarks.load_process`), and this one, which waits meanwhile; processor time
is told for each side. All servers of a shape are up at the same time, and what is compared is measured in turns:

- `streams`: Gatehouse, one stream per session, one step in a message.
- `multiplexed`: Gatehouse, all sessions on one stream; what is answered together sends its next steps together.
- `unary`: Gatehouse, a call for each step.
- `plain`: the yardstick, `benchmarks.plain_server`, one stream per session, with 1 and with 2 compute threads. Ratios
  are taken to the better of the two: `over_plain` by steps per second, `cpu_over_plain` by the processor time of a
  step, server and client together.
- `echo`: the same messages to and from a server that computes nothing, for each of the three ways to send them
  (`over_echo`); `over_engine` is the ratio to the engine in process, in batches of the same size, without RPC.
- `open`: the three regimes of Gatehouse in open loop. Steps arrive as a Poisson process at 50 % and at 80 % of the rate
  that the closed loop had, and latency runs from the moment at which a step was due, sent or not.

All others are closed loops: a session sends its next step when it has the answer to the last one. Of `--rounds` rounds
the one with the most steps counts. For one session, `one_step` is the p50 over the sum of the echo's p50 and of a bare
step's (`nn.LSTM` with head and top-k, and the engine: the quicker one of this run decides).
`--variants float32,float32/2,int8` measures Gatehouse in several variants in the same run: a precision, and after a
slash the number of `--threads`. The first one is measured in all regimes, others over streams in closed loop.
The last line of standard output is JSON.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import outcome
from benchmarks.bare_step import bare_step
from benchmarks.load_process import load_processes
from benchmarks.online_rounds import REGIMES, Plan, measure
from benchmarks.online_servers import Variant, servers_of
from benchmarks.online_verdict import in_process_row, verdict
from benchmarks.shapes import write_shape

Row = dict[str, Any]


def measure_shape(shape: str, plan: Plan, options: argparse.Namespace) -> list[Row]:
    """The rows of one shape."""
    variants = [Variant.parsed(text) for text in options.variants.split(",")]
    precisions = list(dict.fromkeys(variant.precision for variant in variants))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch, load_processes(options.clients) as clients:
        folder = write_shape(Path(scratch), shape)
        with servers_of(
            folder,
            shape.lower(),
            variants=variants,
            device=options.device,
            options=options.serve.split(),
        ) as servers:
            for sessions in map(int, options.sessions.split(",")):
                bare = bare_step(shape, sessions, precisions, options.device, turns=3, turn_seconds=0.2)
                measured = measure(plan, servers, clients, sessions)
                new = [in_process_row(bare, sessions), *verdict(measured, bare)]
                rows += [{"shape": shape, **row} for row in new]
                if not options.json:
                    for row in new:
                        print(shape, row, flush=True)
    return rows


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", default="R1,R2")
    parser.add_argument("--sessions", default="1,8,64,256,1024")
    parser.add_argument("--regimes", default=",".join(REGIMES))
    parser.add_argument("--seconds", type=float, default=1.5, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--variants", default="float32", help="see above, for example float32,float32/2,int8")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--clients", type=int, default=1, help="client processes that share the sessions")
    parser.add_argument("--serve", default="", help="further flags for gatehouse serve, in one argument")
    parser.add_argument("--quick", action="store_true", help="a minute: short, one round, fewer sessions")
    outcome.add_arguments(parser)
    options = parser.parse_args()
    if options.quick:
        options.sessions, options.seconds, options.rounds = "1,64", 0.6, 1
    regimes = options.regimes.split(",")
    unknown = [name for name in regimes if name not in REGIMES]
    if unknown:
        parser.error(f"--regimes: there is no {', '.join(unknown)}; there are {', '.join(REGIMES)}")
    plan = Plan(
        regimes=tuple(regimes),
        seconds=options.seconds,
        rounds=options.rounds,
        main=Variant.parsed(options.variants.split(",")[0]),
    )
    rows = [row for shape in options.shapes.split(",") for row in measure_shape(shape, plan, options)]
    figures = {"benchmark": "online", "device": options.device, "clients": options.clients, "results": rows}
    outcome.finish(options, options.device, figures)


if __name__ == "__main__":
    main()
