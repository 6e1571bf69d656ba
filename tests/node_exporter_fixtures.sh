#!/usr/bin/env bash
# Holds `watchfire scrape` on captured kernel files against what node_exporter gives for them.
#
# usage: tests/node_exporter_fixtures.sh WATCHFIRE CONFORMANCE_DATA [COLLECTOR...]
#
# CONFORMANCE_DATA has compare_metrics.py, node_exporter/fixtures.tar.gz and node_exporter/expected.txt. With collectors
# named, only these run; the metrics of the others are then said to be missing.
set -euo pipefail
watchfire=$1 data=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar xzf "$data/node_exporter/fixtures.tar.gz" -C "$work"

# Those that expected.txt has, but for qdisc and wifi, whose netlink answers were not captured.
if [ $# = 0 ]; then
  # shellcheck disable=SC2046
  set -- $(sed -nE 's/^node_scrape_collector_success\{collector="([a-z_]+)"\} 1$/\1/p' \
    "$data/node_exporter/expected.txt" | grep -vxE 'qdisc|wifi')
fi
flags=(--collector.disable-defaults) live=()
for collector in "$@"; do
  case "$collector" in
    # There is no net/dev in the archive: node_exporter asked the kernel it ran on, for lo.
    netdev) live=(--collector.disable-defaults --collector.netdev --collector.netdev.device-include=lo) ;;
    *) flags+=("--collector.$collector") ;;
  esac
done

# As node_exporter's own unit files have them.
options=(
  --no-collector.arp.netlink
  --collector.arp.device-exclude=nope
  --collector.bcache.priorityStats
  --collector.cpu.info
  --collector.cpu.info.bugs-include='^(cpu_meltdown|spectre_.*|mds)$'
  --collector.cpu.info.flags-include='^(aes|avx.?|constant_tsc)$'
  --collector.hwmon.chip-include='(applesmc|asus_nb_wmi|coretemp|hwmon4|ieee80211|nct6779)'
  --collector.netclass.ignore-invalid-speed
  --collector.netclass.ignored-devices='(dmz|int)'
  --collector.stat.softirq
  --collector.sysctl.include=fs.file-nr
  --collector.sysctl.include=fs.file-nr:total,current,max
  --collector.sysctl.include=kernel.threads-max
  --collector.sysctl.include-info=kernel.seccomp.actions_avail
  --collector.textfile.directory="$work/textfile/two_metric_files"
)
for option in "${options[@]}"; do
  for collector in "$@"; do
    case "$option" in *"collector.$collector."*) flags+=("$option") ;; esac
  done
done
flags+=(--path.rootfs="$work" --path.procfs="$work/proc" --path.sysfs="$work/sys" --path.udev.data="$work/udev/data")
"$watchfire" scrape "${flags[@]}" >"$work/actual.txt"
if [ ${#live[@]} != 0 ]; then "$watchfire" scrape "${live[@]}" | grep -E '(^| )node_network_' >>"$work/actual.txt"; fi
ignore='^(go_|process_|promhttp_|node_exporter_build_info|node_scrape_|node_textfile_mtime|node_time_|node_wifi|node_qdisc|node_network_(receive|transmit)_(bytes|packets)_total)'
python3 "$data/compare_metrics.py" "$data/node_exporter/expected.txt" "$work/actual.txt" --ignore "$ignore" --show 400
