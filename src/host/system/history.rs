//! The last hour, one point a minute, in memory.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// How many points are kept.
const POINTS: usize = 60;

/// The time between two points.
pub const INTERVAL_SECONDS: u32 = 60;

/// What is remembered of one minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// The end of the minute.
    pub(super) at: Timestamp,
    /// In percent, over the minute.
    pub(super) cpu_usage: f64,
    /// In percent, at its end.
    pub(super) memory_usage: f64,
    /// Bytes per second, over the minute, as are the next three.
    pub(super) network_received: u64,
    /// Sent.
    pub(super) network_sent: u64,
    /// Read.
    pub(super) disk_read: u64,
    /// Written.
    pub(super) disk_written: u64,
}

/// The last hour: one list for each figure, the oldest first, all of one length.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct History {
    /// The seconds from one point to the next.
    pub interval_seconds: u32,
    /// When each point was taken.
    #[schema(value_type = Vec<String>)]
    pub timestamps: Vec<Timestamp>,
    /// Processor time in use, in percent.
    pub cpu_usage: Vec<f64>,
    /// Memory in use, in percent.
    pub memory_usage: Vec<f64>,
    /// Bytes received from the network per second.
    pub network_rx_bytes_per_second: Vec<u64>,
    /// Bytes sent to the network per second.
    pub network_tx_bytes_per_second: Vec<u64>,
    /// Bytes read from disks per second.
    pub disk_read_bytes_per_second: Vec<u64>,
    /// Bytes written to disks per second.
    pub disk_written_bytes_per_second: Vec<u64>,
}

/// The points, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Points(VecDeque<Point>);

impl Points {
    /// Adds a point and forgets the one that is an hour old.
    pub(super) fn push(&mut self, point: Point) {
        if self.0.len() >= POINTS {
            self.0.pop_front();
        }
        self.0.push_back(point);
    }

    /// Returns them figure by figure.
    pub(super) fn history(&self) -> History {
        fn column<T>(points: &VecDeque<Point>, figure: impl Fn(&Point) -> T) -> Vec<T> {
            points.iter().map(figure).collect()
        }
        let points = &self.0;
        History {
            interval_seconds: INTERVAL_SECONDS,
            timestamps: column(points, |point| point.at),
            cpu_usage: column(points, |point| point.cpu_usage),
            memory_usage: column(points, |point| point.memory_usage),
            network_rx_bytes_per_second: column(points, |point| point.network_received),
            network_tx_bytes_per_second: column(points, |point| point.network_sent),
            disk_read_bytes_per_second: column(points, |point| point.disk_read),
            disk_written_bytes_per_second: column(points, |point| point.disk_written),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let mut points = Points::default();
        for minute in 0..61_u8 {
            points.push(Point {
                at: Timestamp::from_second(i64::from(minute) * 60).unwrap(),
                cpu_usage: f64::from(minute),
                memory_usage: 0.0,
                network_received: 1,
                network_sent: 2,
                disk_read: 3,
                disk_written: 4,
            });
        }

        let history = points.history();

        assert_eq!(history.timestamps.len(), 60);
        assert_eq!(history.cpu_usage.first(), Some(&1.0));
        assert_eq!(history.cpu_usage.last(), Some(&60.0));
        assert_eq!(history.disk_written_bytes_per_second, [4; 60]);
        let json = serde_json::to_value(&history).unwrap();
        assert_eq!(json["timestamps"][0], "1970-01-01T00:01:00Z");
    }
}
