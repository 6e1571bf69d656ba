"""A stand-in for systemd's manager on D-Bus, over python3-dbus: as much of org.freedesktop.systemd1 as collectors ask.

usage: systemd1.py bus ADDRESS | private SOCKET

It is on the bus at ADDRESS, or serves peers itself at SOCKET as systemd does at /run/systemd/private. Says "ready" on
standard error. Values are what systemd 252 gives, by type and form.
"""

import sys

import dbus
import dbus.mainloop.glib
import dbus.server
import dbus.service
from gi.repository import GLib

NONE = 2**64 - 1
SYSTEMD = "org.freedesktop.systemd1"
BASE = "/org/freedesktop/systemd1"
MANAGER = {"Version": "252.38-1~deb12u1", "Virtualization": "kvm", "SystemState": "degraded"}


def service(kind, restarts=0, tasks=NONE, limit=NONE):
    return {
        "Type": kind,
        "NRestarts": dbus.UInt32(restarts),
        "TasksCurrent": dbus.UInt64(tasks),
        "TasksMax": dbus.UInt64(limit),
    }


def socket(accepted, connections, refused=None):
    properties = {"NAccepted": dbus.UInt32(accepted), "NConnections": dbus.UInt32(connections)}
    if refused is not None:
        properties["NRefused"] = dbus.UInt32(refused)
    return properties


# name: load state, active state, sub state, time of start in microseconds, properties of its kind
UNITS = {
    "ssh.service": ("loaded", "active", "running", 1700000000123456, service("notify", 3, 7, 4915)),
    "backup.service": ("loaded", "failed", "failed", 0, service("oneshot", 5)),
    "apt-daily.service": ("loaded", "inactive", "dead", 0, service("oneshot")),
    "slow-start.service": ("loaded", "activating", "start", 0, service("forking", 0, 1, 100)),
    "reloads.service": ("loaded", "reloading", "reload", 1700000001000000, service("notify-reload", 0, 2)),
    "stops.service": ("loaded", "deactivating", "stop-sigterm", 1700000002000000, service("simple", 0, 2)),
    "masked.service": ("masked", "inactive", "dead", 0, service("")),
    "gone.service": ("not-found", "inactive", "dead", 0, service("")),
    "getty@tty1.service": ("loaded", "active", "running", 1700000003000000, service("idle", 0, 1, 4915)),
    "systemd-fsck@dev-disk-by\\x2duuid-7A0E\\x2d1.service": (
        "loaded", "active", "exited", 1700000004000000, service("oneshot")),
    "gr\u00fc\u00df \"dich\".service": ("loaded", "active", "running", 1700000005000000, service("exec")),
    "dbus.socket": ("loaded", "active", "running", 1700000006000000, socket(12, 3, 1)),
    "old.socket": ("loaded", "active", "listening", 1700000007000000, socket(2**32 - 1, 0)),
    "fstrim.timer": ("loaded", "active", "waiting", 1700000008000000, {"LastTriggerUSec": dbus.UInt64(1699900000500000)}),
    "never.timer": ("loaded", "inactive", "dead", 0, {"LastTriggerUSec": dbus.UInt64(0)}),
    "multi-user.target": ("loaded", "active", "active", 1700000009000000, {}),
    "-.mount": ("loaded", "active", "mounted", 1700000010000000, {"Type": "ext4"}),
    "srv-data.mount": ("loaded", "failed", "failed", 0, {"Type": "nfs4"}),
    "system.slice": ("loaded", "active", "active", 1700000011000000, {}),
    "dev-sda.device": ("loaded", "active", "plugged", 1700000012000000, {}),
}


def escaped(name):
    return "".join(c if c.isalnum() and c.isascii() and not (i == 0 and c.isdigit()) else
                   "".join("_%02x" % b for b in c.encode()) for i, c in enumerate(name))


class Properties(dbus.service.Object):
    """An object whose properties can be had one by one."""

    def __init__(self, path, interfaces):
        super().__init__()
        self.path, self.interfaces = path, interfaces

    @dbus.service.method("org.freedesktop.DBus.Properties", in_signature="ss", out_signature="v")
    def Get(self, interface, name):
        known = self.interfaces.get(interface)
        if known is None:
            raise dbus.exceptions.DBusException(f"Unknown interface {interface}.", name="org.freedesktop.DBus.Error.UnknownInterface")
        if name not in known:
            raise dbus.exceptions.DBusException(f"Unknown property {name}", name="org.freedesktop.DBus.Error.UnknownProperty")
        return known[name]


class Manager(Properties):
    @dbus.service.method(SYSTEMD + ".Manager", out_signature="a(ssssssouso)")
    def ListUnits(self):
        return [
            (name, "What it is", load, active, sub, "", path_of(name), dbus.UInt32(0), "", dbus.ObjectPath("/"))
            for name, (load, active, sub, _, _) in UNITS.items()
        ]

    @dbus.service.method(SYSTEMD + ".Manager", in_signature="s", out_signature="o")
    def LoadUnit(self, name):
        if "." not in name:
            text = f"Unit name {name} is not valid."
            raise dbus.exceptions.DBusException(text, name="org.freedesktop.DBus.Error.InvalidArgs")
        return path_of(name)


def path_of(name):
    return dbus.ObjectPath(f"{BASE}/unit/{escaped(name)}")


def objects():
    yield Manager(BASE, {SYSTEMD + ".Manager": MANAGER})
    for name, (load, active, sub, start, properties) in UNITS.items():
        kind = name.rsplit(".", 1)[1].capitalize()
        unit = {
            "ActiveEnterTimestamp": dbus.UInt64(start),
            "StateChangeTimestamp": dbus.UInt64(start),
            "LoadState": load,
            "ActiveState": active,
            "SubState": sub,
        }
        if kind == "Service":
            properties = dict(properties, Result="exit-code" if active == "failed" else "success")
        yield Properties(path_of(name), {f"{SYSTEMD}.Unit": unit, f"{SYSTEMD}.{kind}": properties})


def main():
    mode, where = sys.argv[1:]
    dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
    if mode == "bus":
        bus = dbus.bus.BusConnection(where)
        exported = list(objects())
        for thing in exported:
            thing.add_to_connection(bus, thing.path)
        name = dbus.service.BusName(SYSTEMD, bus)
    else:
        # A peer each: an object of python3-dbus stays with the connection that it was exported on.
        class Server(dbus.server.Server):
            def connection_added(self, connection):
                connection.exported = list(objects())
                for thing in connection.exported:
                    thing.add_to_connection(connection, thing.path)

            def connection_removed(self, connection):
                connection.exported = []

        server = Server(f"unix:path={where}")
    print("ready", file=sys.stderr, flush=True)
    GLib.MainLoop().run()


main()
