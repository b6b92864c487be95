//! The stream of timestamps at one leader: one request, one answer, and again.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

use crate::tso::Batch;

use super::PdError;
use super::member::Leader;
use super::proto::{RequestHeader, TSO, TsoRequest, TsoResponse};

/// How long an answer may take before the leader is looked for again. Below the 3 s at which PD
/// counts as lost, so that a leader that hangs while another one is there is left in time.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// One stream. After an error it must be dropped.
pub(super) struct Stream {
    grpc: Grpc<Channel>,
    cluster: u64,
    /// There from the first request on.
    open: Option<Open>,
}

struct Open {
    requests: mpsc::Sender<TsoRequest>,
    answers: Streaming<TsoResponse>,
}

impl Stream {
    pub(super) fn new(leader: Leader) -> Self {
        let Leader { channel, cluster, .. } = leader;
        Self { grpc: Grpc::new(channel), cluster, open: None }
    }

    /// So many timestamps.
    ///
    /// Not cancel safe: the answer to a dropped request would be taken for that of the next one.
    ///
    /// # Errors
    /// There are none; the stream is of no use any more.
    pub(super) async fn ask(&mut self, count: u32) -> Result<Batch, PdError> {
        let header = Some(RequestHeader { cluster_id: self.cluster });
        let request = TsoRequest { header, count };
        let answered = async {
            match &mut self.open {
                Some(open) => {
                    open.requests.send(request).await.map_err(|_| PdError::Ended)?;
                    open.answers.message().await?.ok_or(PdError::Ended)
                }
                None => {
                    let mut open = open(&mut self.grpc, request).await?;
                    let answer = open.answers.message().await?.ok_or(PdError::Ended)?;
                    self.open = Some(open);
                    Ok(answer)
                }
            }
        };
        let answer =
            timeout(ANSWER_MAX, answered).await.map_err(|_| PdError::TooLong(ANSWER_MAX))??;
        self.read(answer, count)
    }

    fn read(&self, answer: TsoResponse, asked: u32) -> Result<Batch, PdError> {
        let header = answer.header.unwrap_or_default();
        if let Some(error) = header.error.filter(|error| error.kind != 0) {
            return Err(PdError::Refused(error.message));
        }
        if header.cluster_id != self.cluster {
            let (expected, found) = (self.cluster, header.cluster_id);
            return Err(PdError::Cluster { at: "the leader".to_owned(), expected, found });
        }
        if answer.count != asked {
            return Err(PdError::Count { asked, found: answer.count });
        }
        let timestamp = answer.timestamp.unwrap_or_default();
        Ok(Batch::new(timestamp.physical, timestamp.logical, timestamp.suffix_bits, asked)?)
    }
}

/// The first request goes ahead of the answer's headers: PD sends those with its first answer.
async fn open(grpc: &mut Grpc<Channel>, first: TsoRequest) -> Result<Open, PdError> {
    let (requests, queue) = mpsc::channel(1);
    requests.send(first).await.map_err(|_| PdError::Ended)?;
    // The channel is connected; if it has broken since, the request says so.
    let _ = grpc.ready().await;
    let codec = ProstCodec::<TsoRequest, TsoResponse>::default();
    let opened = grpc.streaming(Request::new(ReceiverStream::new(queue)), TSO, codec).await?;
    Ok(Open { requests, answers: opened.into_inner() })
}
