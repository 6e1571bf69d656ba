"""A stand-in for a desktop's notification server on D-Bus, over python3-dbus.

usage: notifications.py ADDRESS FILE CAPABILITY...

It is org.freedesktop.Notifications on the bus at ADDRESS and writes each Notify as a line of JSON to FILE. Says "ready"
on standard error.
"""

import json
import sys

import dbus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

NAME = "org.freedesktop.Notifications"


class Server(dbus.service.Object):
    last = 40

    @dbus.service.method(NAME, in_signature="", out_signature="as")
    def GetCapabilities(self):
        return ["actions", "body"] + sys.argv[3:]

    @dbus.service.method(NAME, in_signature="susssasa{sv}i", out_signature="u")
    def Notify(self, app, replaces, icon, summary, body, actions, hints, expire):
        if not replaces:
            Server.last += 1
        seen = {
            "app": app,
            "replaces": int(replaces),
            "icon": icon,
            "summary": summary,
            "body": body,
            "actions": list(actions),
            "urgency": [type(hints["urgency"]).__name__, int(hints["urgency"])],
            "category": hints["category"],
            "expire": int(expire),
        }
        with open(sys.argv[2], "a") as out:
            out.write(json.dumps(seen) + "\n")
        return dbus.UInt32(replaces or Server.last)


dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.bus.BusConnection(sys.argv[1])
name = dbus.service.BusName(NAME, bus)
server = Server(bus, "/org/freedesktop/Notifications")
print("ready", file=sys.stderr, flush=True)
GLib.MainLoop().run()
