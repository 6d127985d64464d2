/**
 * The unit by which systemd keeps the daemon.
 *
 * @module
 */

/** The first line of a unit of ours. */
export const unitMark = "# kurmad.service, written by kurma install --systemd";

/**
 * The unit file.
 *
 * @param executable This program: an absolute path.
 * @see systemd.service(5), systemd.exec(5), systemd.kill(5)
 */
export function unitText(executable: string): string {
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

/** A path as a word of ExecStart: quoted, without specifiers and variables. */
function escaped(path: string): string {
  const plain = path.replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /^[\w./%$+-]+$/.test(plain) ? plain : JSON.stringify(plain);
}
