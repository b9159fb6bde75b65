"""Is the simulator right? The same runs in virtual time, and live through the real daemon.

``python -m tests.validity`` plays generated runs twice under each policy: with
`headway.sim.play`, and with the emulator and ``headway up`` as processes of their own and a
player that asks the daemon through the client library. Mean and P95 of completion must agree.
"""
