//! The messages of event files, with the field numbers of TensorBoard's `.proto` files.

use std::collections::BTreeMap;

use prost::{Message, Oneof};

/// `Event` of `event.proto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    /// In seconds since 1970.
    #[prost(double, tag = "1")]
    pub(super) wall_time: f64,
    #[prost(int64, tag = "2")]
    pub(super) step: i64,
    /// Of the first event alone.
    #[prost(string, optional, tag = "3")]
    pub(super) file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    pub(super) summary: Option<Summary>,
}

/// `Summary` of `summary.proto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub(super) values: Vec<Value>,
}

/// `Summary.Value` of `summary.proto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    #[prost(string, tag = "1")]
    pub(super) tag: String,
    #[prost(float, optional, tag = "2")]
    pub(super) scalar: Option<f32>,
    #[prost(message, optional, tag = "8")]
    pub(super) tensor: Option<Tensor>,
    #[prost(message, optional, tag = "9")]
    pub(super) metadata: Option<Metadata>,
}

/// `SummaryMetadata` of `summary.proto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Metadata {
    #[prost(message, optional, tag = "1")]
    pub(super) plugin: Option<PluginData>,
    /// Markdown.
    #[prost(string, tag = "3")]
    pub(super) description: String,
    /// One of [`TENSOR`] and [`BLOBS`].
    #[prost(int32, tag = "4")]
    pub(super) data_class: i32,
}

/// `DATA_CLASS_TENSOR`.
pub(super) const TENSOR: i32 = 2;
/// `DATA_CLASS_BLOB_SEQUENCE`.
pub(super) const BLOBS: i32 = 3;

/// `SummaryMetadata.PluginData` of `summary.proto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PluginData {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) content: Vec<u8>,
}

/// `TensorProto` of `tensor.proto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Tensor {
    /// One of [`FLOAT`], [`DOUBLE`] and [`STRING`].
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) shape: Option<Shape>,
    #[prost(float, repeated, tag = "5")]
    pub(super) floats: Vec<f32>,
    #[prost(double, repeated, tag = "6")]
    pub(super) doubles: Vec<f64>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub(super) strings: Vec<Vec<u8>>,
}

/// `DT_FLOAT`.
pub(super) const FLOAT: i32 = 1;
/// `DT_DOUBLE`.
pub(super) const DOUBLE: i32 = 2;
/// `DT_STRING`.
pub(super) const STRING: i32 = 7;

/// `TensorShapeProto` of `tensor_shape.proto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Shape {
    #[prost(message, repeated, tag = "2")]
    pub(super) dimensions: Vec<Dimension>,
}

/// `TensorShapeProto.Dim` of `tensor_shape.proto`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Dimension {
    #[prost(int64, tag = "1")]
    pub(super) size: i64,
}

/// `PrCurvePluginData` of the plugin `pr_curves`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct CurveContent {
    #[prost(int32, tag = "1")]
    pub(super) version: i32,
    #[prost(uint32, tag = "2")]
    pub(super) thresholds: u32,
}

/// `HParamsPluginData` of the plugin `hparams`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SettingsContent {
    #[prost(int32, tag = "1")]
    pub(super) version: i32,
    #[prost(message, optional, tag = "3")]
    pub(super) start: Option<SessionStart>,
    #[prost(message, optional, tag = "4")]
    pub(super) end: Option<SessionEnd>,
}

/// `SessionStartInfo` of the plugin `hparams`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SessionStart {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(super) settings: BTreeMap<String, Setting>,
    #[prost(double, tag = "5")]
    pub(super) seconds: f64,
}

/// `SessionEndInfo` of the plugin `hparams`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct SessionEnd {
    /// One of [`SUCCESS`] and [`FAILURE`].
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
    #[prost(double, tag = "2")]
    pub(super) seconds: f64,
}

/// `STATUS_SUCCESS`.
pub(super) const SUCCESS: i32 = 1;
/// `STATUS_FAILURE`.
pub(super) const FAILURE: i32 = 2;

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Setting {
    #[prost(oneof = "SettingValue", tags = "2, 3, 4")]
    pub(super) value: Option<SettingValue>,
}

/// The kinds of `google.protobuf.Value`.
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum SettingValue {
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Flag(bool),
}

/// `Layout` of the plugin `custom_scalar`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Layout {
    #[prost(message, repeated, tag = "2")]
    pub(super) categories: Vec<Category>,
}

/// `Category` of the plugin `custom_scalar`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Category {
    #[prost(string, tag = "1")]
    pub(super) title: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) charts: Vec<Chart>,
}

/// `Chart` of the plugin `custom_scalar`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Chart {
    #[prost(string, tag = "1")]
    pub(super) title: String,
    #[prost(message, optional, tag = "2")]
    pub(super) lines: Option<Lines>,
}

/// `MultilineChartContent` of the plugin `custom_scalar`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Lines {
    /// Regular expressions.
    #[prost(string, repeated, tag = "1")]
    pub(super) tags: Vec<String>,
}
