//! The messages of `pdpb.PD` that are used, by hand: nine of them, with the fields that are read.
//! Names and numbers are those of pingcap/kvproto `pdpb.proto`.

use tonic::codegen::http::uri::PathAndQuery;

/// `rpc GetMembers(GetMembersRequest) returns (GetMembersResponse)`
pub(super) const GET_MEMBERS: PathAndQuery = PathAndQuery::from_static("/pdpb.PD/GetMembers");

/// `rpc Tso(stream TsoRequest) returns (stream TsoResponse)`
pub(super) const TSO: PathAndQuery = PathAndQuery::from_static("/pdpb.PD/Tso");

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RequestHeader {
    #[prost(uint64, tag = "1")]
    pub(super) cluster_id: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ResponseHeader {
    #[prost(uint64, tag = "1")]
    pub(super) cluster_id: u64,
    #[prost(message, optional, tag = "2")]
    pub(super) error: Option<Error>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Error {
    /// 0 is no error.
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GetMembersRequest {
    /// Left out: PD answers without it, and its id isn't known yet.
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<RequestHeader>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Member {
    #[prost(string, repeated, tag = "4")]
    pub(super) client_urls: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GetMembersResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<ResponseHeader>,
    #[prost(message, repeated, tag = "2")]
    pub(super) members: Vec<Member>,
    #[prost(message, optional, tag = "3")]
    pub(super) leader: Option<Member>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TsoRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<RequestHeader>,
    #[prost(uint32, tag = "2")]
    pub(super) count: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(super) physical: i64,
    #[prost(int64, tag = "2")]
    pub(super) logical: i64,
    #[prost(uint32, tag = "3")]
    pub(super) suffix_bits: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TsoResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<ResponseHeader>,
    #[prost(uint32, tag = "2")]
    pub(super) count: u32,
    #[prost(message, optional, tag = "3")]
    pub(super) timestamp: Option<Timestamp>,
}
