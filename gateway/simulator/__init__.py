"""Partners that are played: placers and fulfillers of any dialect, prompt or late, right or wrong. docs/simulator.md"""

from __future__ import annotations

from gateway.simulator.faults import FaultError, Faults
from gateway.simulator.fulfiller import Fulfiller
from gateway.simulator.partner import Part, Partner
from gateway.simulator.placer import Placer, Plan
from gateway.simulator.receiver import Received, Receiver

__all__ = ["FaultError", "Faults", "Fulfiller", "Part", "Partner", "Placer", "Plan", "Received", "Receiver"]
