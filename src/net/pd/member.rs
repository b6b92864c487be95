//! Who leads PD.
//!
//! Every known address is asked at once (`GetMembers`). At the start all that answer must name one
//! cluster: which one of two was meant nobody can tell, and the hints of the wrong one could be
//! later than start_ts. From then on the first answer of that cluster that names a leader is taken.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

use crate::base::config::Address;

use super::PdError;
use super::dial::{Dial, connect, followed};
use super::proto::{GET_MEMBERS, GetMembersRequest, GetMembersResponse, Member};

/// How long one address may take to connect, and as long again to answer. Short, so that an address
/// that swallows everything doesn't take the 3 s by itself.
const ASK_MAX: Duration = Duration::from_millis(800);

/// What is known of the cluster.
pub(super) struct Members {
    configured: Vec<Address>,
    /// As the last answer named them.
    named: Vec<Address>,
    cluster: Option<u64>,
    dial: Arc<dyn Dial>,
}

/// The leader, connected.
pub(super) struct Leader {
    pub(super) channel: Channel,
    pub(super) address: Address,
    pub(super) cluster: u64,
}

impl Members {
    pub(super) fn new(configured: Vec<Address>, dial: Arc<dyn Dial>) -> Self {
        Self { configured, named: Vec::new(), cluster: None, dial }
    }

    /// Looks for the leader once, and connects to it.
    ///
    /// Cancel safe: connections under way are dropped.
    ///
    /// # Errors
    /// Nobody knows one, or it can't be reached.
    pub(super) async fn leader(&mut self) -> Result<Leader, PdError> {
        let found = self.find().await?;
        let tls = self.dial.is_tls();
        let addresses = |member: &Member| -> Vec<Result<Address, PdError>> {
            member.client_urls.iter().map(|url| followed(url, tls)).collect()
        };
        self.named = found.members.iter().flat_map(addresses).flatten().collect();
        let mut last = PdError::NoLeader;
        for address in found.leader.iter().flat_map(addresses) {
            let connected = match address {
                Ok(address) => {
                    connect(&self.dial, &address, ASK_MAX).await.map(|channel| (channel, address))
                }
                Err(error) => Err(error),
            };
            match connected {
                Ok((channel, address)) => {
                    return Ok(Leader { channel, address, cluster: id(&found) });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// An answer that names a leader.
    async fn find(&mut self) -> Result<GetMembersResponse, PdError> {
        let mut asked = JoinSet::new();
        let others = self.configured.iter().filter(|address| !self.named.contains(address));
        for address in self.named.iter().chain(others) {
            asked.spawn(ask(self.dial.clone(), address.clone()));
        }
        let (mut found, mut last) = (None, PdError::NoLeader);
        let mut cluster = self.cluster;
        while let Some(answer) = asked.join_next().await {
            match answer.unwrap_or(Err(PdError::Ended)) {
                Ok((at, answer)) => {
                    let expected = *cluster.get_or_insert_with(|| id(&answer));
                    if id(&answer) != expected {
                        let found = id(&answer);
                        last = PdError::Cluster { at: at.to_string(), expected, found };
                        // Later on it is one address that has been given to somebody else.
                        if self.cluster.is_none() {
                            return Err(last);
                        }
                    } else if answer.leader.is_some() {
                        found = Some(answer);
                    }
                }
                Err(error) => last = error,
            }
            if self.cluster.is_some() && found.is_some() {
                break;
            }
        }
        let found = found.ok_or(last)?;
        self.cluster = cluster;
        Ok(found)
    }
}

fn id(answer: &GetMembersResponse) -> u64 {
    answer.header.as_ref().map_or(0, |header| header.cluster_id)
}

async fn ask(
    dial: Arc<dyn Dial>,
    address: Address,
) -> Result<(Address, GetMembersResponse), PdError> {
    let channel = connect(&dial, &address, ASK_MAX).await?;
    let asked = async {
        let mut grpc = Grpc::new(channel);
        // The channel is connected.
        let _ = grpc.ready().await;
        let request = Request::new(GetMembersRequest { header: None });
        let codec = ProstCodec::<GetMembersRequest, GetMembersResponse>::default();
        grpc.unary(request, GET_MEMBERS, codec).await
    };
    let answer = timeout(ASK_MAX, asked).await.map_err(|_| PdError::TooLong(ASK_MAX))??;
    let answer = answer.into_inner();
    match answer.header.as_ref().and_then(|header| header.error.as_ref()) {
        Some(error) if error.kind != 0 => Err(PdError::Refused(error.message.clone())),
        _ => Ok((address, answer)),
    }
}
