//! The messages of `pdpb.PD` as a server has them, written from pingcap/kvproto `pdpb.proto` and not
//! from txguard's.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RequestHeader {
    #[prost(uint64, tag = "1")]
    pub(crate) cluster_id: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) sender_id: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ResponseHeader {
    #[prost(uint64, tag = "1")]
    pub(crate) cluster_id: u64,
    #[prost(message, optional, tag = "2")]
    pub(crate) error: Option<Error>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Error {
    #[prost(int32, tag = "1")]
    pub(crate) kind: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GetMembersRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) header: Option<RequestHeader>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Member {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(uint64, tag = "2")]
    pub(crate) member_id: u64,
    #[prost(string, repeated, tag = "3")]
    pub(crate) peer_urls: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub(crate) client_urls: Vec<String>,
    #[prost(int32, tag = "5")]
    pub(crate) leader_priority: i32,
    #[prost(string, tag = "7")]
    pub(crate) binary_version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GetMembersResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) header: Option<ResponseHeader>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) members: Vec<Member>,
    #[prost(message, optional, tag = "3")]
    pub(crate) leader: Option<Member>,
    #[prost(message, optional, tag = "4")]
    pub(crate) etcd_leader: Option<Member>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TsoRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) header: Option<RequestHeader>,
    #[prost(uint32, tag = "2")]
    pub(crate) count: u32,
    #[prost(string, tag = "3")]
    pub(crate) dc_location: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(crate) physical: i64,
    #[prost(int64, tag = "2")]
    pub(crate) logical: i64,
    #[prost(uint32, tag = "3")]
    pub(crate) suffix_bits: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TsoResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) header: Option<ResponseHeader>,
    #[prost(uint32, tag = "2")]
    pub(crate) count: u32,
    #[prost(message, optional, tag = "3")]
    pub(crate) timestamp: Option<Timestamp>,
}
