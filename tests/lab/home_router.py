"""What a home's router says to those who ask it to forward a port: NAT-PMP and UPnP, small but real.

Run inside the router: `python -m lab.home_router ADDRESS [natpmp] [upnp] [permanent]`. Each port that it is
asked for is printed as a line of JSON, `{"outer", "inner", "address", "life_s"}` (life 0: removed), and
answered to the asker once that line is answered with the public address: who runs it does the forwarding.
"""

from __future__ import annotations

import http.server
import json
import re
import socket
import struct
import sys
import threading
from socketserver import ThreadingMixIn

GROUP = "239.255.255.250"
OUTER = "203.0.113.77"
_lock = threading.Lock()

DESCRIPTION = """<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><deviceList><device><serviceList>
<service><serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType>
<controlURL>/l3f</controlURL></service>
<service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>
<controlURL>/ctl?a=1</controlURL></service></serviceList></device></deviceList></device></root>"""


def forward(outer: int, inner: int, address: str, life_s: int) -> str:
    """The router's public address, told with the answer."""
    with _lock:
        print(json.dumps({"outer": outer, "inner": inner, "address": address, "life_s": life_s}), flush=True)
        return sys.stdin.readline().strip() or OUTER


def natpmp(here: str, public: list[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind((here, 5351))
        while True:
            data, source = door.recvfrom(64)
            if data[:2] == b"\0\0":
                door.sendto(struct.pack(">BBHI4s", 0, 128, 0, 1, socket.inet_aton(public[0])), source)
            elif data[:2] == b"\0\2" and len(data) == 12:
                _, _, _, inner, outer, life = struct.unpack(">BBHHHI", data)
                public[0] = forward(outer or inner, inner, source[0], life)
                door.sendto(struct.pack(">BBHIHHI", 0, 130, 0, 1, inner, outer, life), source)


class Device(http.server.BaseHTTPRequestHandler):
    public = OUTER
    permanent = False

    def do_GET(self) -> None:
        self._say(200, DESCRIPTION)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        words = dict(re.findall(r"<(New\w+)>([^<]*)<", body))
        action = self.headers["SOAPAction"].strip('"').rpartition("#")[2]
        result = ""
        if action == "AddPortMapping" and self.permanent and words["NewLeaseDuration"] != "0":
            self._say(500, "<errorCode>725</errorCode><errorDescription>OnlyPermanentLeasesSupported")
            return
        if action == "AddPortMapping":
            life = int(words["NewLeaseDuration"]) or 1 << 30
            outer, inner = int(words["NewExternalPort"]), int(words["NewInternalPort"])
            type(self).public = forward(outer, inner, words["NewInternalClient"], life)
        elif action == "DeletePortMapping":
            forward(int(words["NewExternalPort"]), 0, "", 0)
        elif action == "GetExternalIPAddress":
            result = f"<NewExternalIPAddress>{self.public}</NewExternalIPAddress>"
        self._say(200, f"<u:{action}Response>{result}</u:{action}Response>")

    def _say(self, code: int, page: str) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(page.encode())

    def log_message(self, *_: object) -> None:
        """Not to the test's output."""


class Server(ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


def upnp(here: str) -> None:
    web = Server((here, 5000), Device)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind((GROUP, 1900))
        member = socket.inet_aton(GROUP) + socket.inet_aton(here)
        door.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        while True:
            data, source = door.recvfrom(2048)
            if data.startswith(b"M-SEARCH") and b"InternetGatewayDevice" in data:
                answer = f"HTTP/1.1 200 OK\r\nST: x\r\nLOCATION: http://{here}:5000/root.xml\r\n\r\n"
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
                    back.bind((here, 0))
                    back.sendto(answer.encode(), source)


def main(here: str, *services: str) -> None:
    Device.permanent = "permanent" in services
    public = [OUTER]
    threads = []
    if "natpmp" in services:
        threads.append(threading.Thread(target=natpmp, args=(here, public), daemon=True))
    if "upnp" in services:
        threads.append(threading.Thread(target=upnp, args=(here,), daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
