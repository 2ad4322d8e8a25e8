"""Reads and operates an application's queues: for operators, their commands and screens."""

from quaff.inspector.bulk import Action as Action
from quaff.inspector.homes import Application as Application
from quaff.inspector.inspector import Inspector as Inspector
from quaff.inspector.letters import DeadLetter as DeadLetter
from quaff.inspector.shapes import Bucket as Bucket
from quaff.stepwise import Step as Step
