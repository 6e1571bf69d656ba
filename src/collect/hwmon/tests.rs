use super::*;
use crate::collect::testing::{Runner, Tree, conforms, never_panics, starting};
use crate::yaml::Document;

const CORETEMP: &str = "sys/devices/platform/coretemp.0/hwmon/hwmon2";

/// A tree with links as the kernel has them.
fn tree() -> Tree {
    let tree = Tree::new::<&str>(&[]);
    for (file, text) in [
        ("name", "coretemp\n"),
        ("temp1_input", "48000\n"),
        ("temp1_crit", "100000\n"),
        ("temp1_label", "Package id 0\n"),
        ("temp2_input", "46500\n"),
    ] {
        tree.write(&format!("{CORETEMP}/{file}"), text);
    }
    link(&tree, CORETEMP, Some("../../../coretemp.0"));
    tree
}

/// Puts a chip into the class, and links it to its device.
fn link(tree: &Tree, chip: &str, device: Option<&str>) {
    let class = tree.path("sys/class/hwmon");
    std::fs::create_dir_all(&class).unwrap();
    let chip = tree.path(chip);
    std::os::unix::fs::symlink(&chip, class.join(chip.file_name().unwrap())).unwrap();
    if let Some(device) = device {
        std::os::unix::fs::symlink(device, chip.join("device")).unwrap();
    }
}

fn run(tree: &Tree, config: &HwmonConfig) -> Vec<String> {
    Runner::new(Hwmon::new(config, &tree.roots())).lines()
}

#[test]
fn sensors_by_chip() {
    assert_eq!(
        run(&tree(), &HwmonConfig::default()),
        [
            "node_hwmon_chip_names{chip=\"platform_coretemp_0\",chip_name=\"coretemp\"} 1",
            "node_hwmon_sensor_label{chip=\"platform_coretemp_0\",sensor=\"temp1\",label=\"Package id 0\"} 1",
            "node_hwmon_temp_celsius{chip=\"platform_coretemp_0\",sensor=\"temp1\"} 48",
            "node_hwmon_temp_celsius{chip=\"platform_coretemp_0\",sensor=\"temp2\"} 46.5",
            "node_hwmon_temp_crit_celsius{chip=\"platform_coretemp_0\",sensor=\"temp1\"} 100",
        ]
    );
}

#[test]
fn every_type_of_sensor_has_its_unit() {
    let tree = Tree::new::<&str>(&[]);
    let files = [
        ("name", "board\n"),
        ("beep_enable", "1\n"),
        ("vrm", "90\n"),
        ("update_interval", "2000\n"),
        ("cpu0_vid", "1250\n"),
        ("curr1_input", "1500\n"),
        ("energy1_input", "2500000\n"),
        ("fan1_div", "2\n"),
        ("fan1_fault", "0\n"),
        ("fan1_input", "1098\n"),
        ("freq1_input", "300000000\n"),
        ("freq2_input", "300000000\n"),
        ("freq2_label", "Shader Clock\n"),
        ("humidity1_input", "450000\n"),
        ("power1_accuracy", "10000\n"),
        ("power1_average", "3500000\n"),
        ("power1_average_interval", "1000\n"),
        ("pwm1", "153\n"),
        ("temp1_type", "4\n"),
        ("temp1_input", "not connected\n"),
    ];
    files.iter().for_each(|(file, text)| tree.write(&format!("sys/class/hwmon/hwmon0/{file}"), text));
    let lines = run(&tree, &HwmonConfig::default());
    let value = |metric: &str, sensor: &str, value: &str| {
        format!("node_hwmon_{metric}{{chip=\"board\",sensor=\"{sensor}\"}} {value}")
    };
    let expected = [
        value("beep_enabled", "beep_enable0", "1"),
        value("cpu_vid_volts", "cpu0", "1.25"),
        value("curr_amps", "curr1", "1.5"),
        value("energy_joule_total", "energy1", "2.5"),
        value("fan_div", "fan1", "2"),
        value("fan_fault", "fan1", "0"),
        value("fan_rpm", "fan1", "1098"),
        value("freq_freq_mhz", "shader_clock", "300"),
        value("humidity", "humidity1", "0.45"),
        value("power_accuracy", "power1", "0.01"),
        value("power_average_interval_seconds", "power1", "1"),
        value("power_average_watt", "power1", "3.5"),
        value("pwm", "pwm1", "153"),
        value("temp_type", "temp1", "4"),
        value("update_interval_seconds", "update_interval0", "2"),
        value("voltage_regulator_version", "vrm0", "90"),
    ];
    assert_eq!(lines[2..], expected);
}

#[test]
fn chips_of_one_device_are_told_apart() {
    let tree = Tree::new::<&str>(&[]);
    let device = "sys/devices/platform/asus-nb-wmi/hwmon";
    for (number, name) in [(1, "asus\n"), (2, "fans\n"), (3, "fans\n"), (4, "")] {
        let chip = format!("{device}/hwmon{number}");
        tree.write(&format!("{chip}/name"), name);
        tree.write(&format!("{chip}/pwm1"), "2\n");
        link(&tree, &chip, Some("../../../asus-nb-wmi"));
    }
    let lines = run(&tree, &HwmonConfig::default());
    let chips: Vec<_> = starting(&lines, "node_hwmon_pwm{").iter().map(|l| l.split('"').nth(1).unwrap()).collect();
    let names = ["asus", "hwmon2", "hwmon3", "hwmon4"].map(|n| format!("platform_asus_nb_wmi_{n}"));
    assert_eq!(chips, names);
}

#[test]
fn chosen_chips_and_sensors() {
    let tree = tree();
    let sensors = |config: HwmonConfig| -> Vec<String> {
        let lines = run(&tree, &config);
        starting(&lines, "node_hwmon_temp_celsius").iter().map(|l| l.split('"').nth(3).unwrap().to_string()).collect()
    };
    let of = |pattern| Search::fixed(pattern);
    assert!(sensors(HwmonConfig { chip_exclude: of("coretemp"), ..HwmonConfig::default() }).is_empty());
    assert_eq!(sensors(HwmonConfig { chip_include: Some(of("coretemp")), ..HwmonConfig::default() }).len(), 2);
    let exclude = HwmonConfig { sensor_exclude: of("^platform_coretemp_0;temp1$"), ..HwmonConfig::default() };
    assert_eq!(sensors(exclude), ["temp2"]);
    assert_eq!(sensors(HwmonConfig { sensor_include: Some(of(";temp1$")), ..HwmonConfig::default() }), ["temp1"]);
    let mut faults = Faults::default();
    let text = "sensor_include: a\nsensor_exclude: b\n";
    let _: HwmonConfig = Document::parse("f.yaml", text, &mut faults).read(&mut faults);
    assert!(faults.to_string().contains("sensor_include and sensor_exclude exclude each other"), "{faults}");
}

#[test]
fn a_chip_that_comes_or_goes_is_seen_in_the_next_run() {
    let tree = tree();
    let mut run = Runner::new(Hwmon::new(&HwmonConfig::default(), &tree.roots()));
    assert_eq!(run.lines().len(), 5);
    tree.write("sys/class/hwmon/hwmon9/fan1_input", "900\n");
    assert!(run.lines().contains(&"node_hwmon_fan_rpm{chip=\"hwmon9\",sensor=\"fan1\"} 900".to_string()));
    std::fs::remove_dir_all(tree.path("sys/class/hwmon/hwmon9")).unwrap();
    std::fs::remove_dir_all(tree.path(CORETEMP)).unwrap();
    assert!(run.lines().is_empty());
}

#[test]
fn a_host_without_sensors_has_no_data() {
    let tree = Tree::new::<&str>(&[]);
    let (lines, error) = Runner::new(Hwmon::new(&HwmonConfig::default(), &tree.roots())).failure();
    assert!(lines.is_empty() && error.starts_with("no data:"), "{error}");
}

#[test]
fn garbage_never_panics() {
    let files = [
        ("sys/class/hwmon/hwmon0/name", "nct6779\n"),
        ("sys/class/hwmon/hwmon0/temp1_input", "48000\n"),
        ("sys/class/hwmon/hwmon0/temp1_label", "CPU\n"),
        ("sys/class/hwmon/hwmon0/freq1_input", "300000000\n"),
        ("sys/class/hwmon/hwmon0/freq1_label", "sclk\n"),
        ("sys/class/hwmon/hwmon1/name", "nct6779\n"),
        ("sys/class/hwmon/hwmon1/fan1_input", "900\n"),
    ];
    never_panics(&files, |roots| Hwmon::new(&HwmonConfig::default(), roots));
}

#[test]
fn as_node_exporter() {
    let chips = "(applesmc|asus_nb_wmi|coretemp|hwmon4|ieee80211|nct6779)";
    conforms(
        &["sys/class/hwmon", "sys/devices/platform"],
        |name| name.starts_with("node_hwmon_"),
        |roots| Hwmon::new(&HwmonConfig { chip_include: Some(Search::fixed(chips)), ..HwmonConfig::default() }, roots),
    );
}
