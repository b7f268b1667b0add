"""The command line with processes on the CPU taken for processes on GPUs, so that accelerate shards their model.

accelerate shards on accelerators only; torch's sharding itself works on the CPU.
"""

from accelerate import PartialState
from accelerate.state import AcceleratorState, DistributedType

from diffvqa.cli import main
from diffvqa.training.processes import join_processes

initialise = AcceleratorState.__init__


def initialise_as_on_gpus(self, *args, **kwargs):
    if join_processes().distributed_type == DistributedType.MULTI_CPU:
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    initialise(self, *args, **kwargs)


AcceleratorState.__init__ = initialise_as_on_gpus
main()
