/**
 * The units by which systemd keeps the daemon, and its socket.
 *
 * @module
 */

/** How the first line of a unit of ours begins. */
export const unitMark = "# Written by kurma install --systemd";

/**
 * The units by the names of their files.
 *
 * @param executable This program: an absolute path.
 * @param group Who may connect to the API beside root; nobody if left out.
 */
export function units(executable: string, group?: string): Readonly<Record<string, string>> {
  return {
    "kurmad.service": serviceText(executable),
    "kurmad.socket": socketText(group),
    "kurma-api.service": apiText(executable),
  };
}

/** systemd.service(5), systemd.exec(5), systemd.kill(5) */
function serviceText(executable: string): string {
  return `${unitMark}
[Unit]
Description=Kurma, a container host
After=local-fs.target network-online.target
Wants=network-online.target

[Service]
Type=notify
ExecStart=${escaped(executable)} daemon
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=1s
WatchdogSec=60s
TimeoutStartSec=2min
# Containers outlive the daemon: only it is stopped, and its cgroups are its own.
KillMode=process
Delegate=yes
# One daemon holds descriptors and processes of all containers.
LimitNOFILE=1048576
LimitNPROC=infinity
TasksMax=infinity
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
`;
}

/** systemd.socket(5): the socket is there before the daemon is, and while it is replaced. */
function socketText(group: string | undefined): string {
  return `${unitMark}
[Unit]
Description=The API of Kurma

[Socket]
ListenStream=/run/kurma/kurma.sock
SocketMode=0660
${group === undefined ? "" : `SocketGroup=${group}\n`}RemoveOnStop=yes

[Install]
WantedBy=sockets.target
`;
}

/** What faces the network writes nothing, and sees no more of the machine than it needs. */
function apiText(executable: string): string {
  return `${unitMark}
[Unit]
Description=Kurma for callers of other machines
After=network-online.target kurmad.socket
Wants=network-online.target

[Service]
Type=notify
ExecStart=${escaped(executable)} api serve
Restart=always
RestartSec=1s
NoNewPrivileges=yes
CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_DAC_OVERRIDE
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
`;
}

/** A path as a word of ExecStart: quoted, without specifiers and variables. */
function escaped(path: string): string {
  const plain = path.replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /^[\w./%$+-]+$/.test(plain) ? plain : JSON.stringify(plain);
}
