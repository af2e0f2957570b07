//! The body of a response behind a middleware: the handler's own, or a short text in its place.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::http::HeaderMap;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response behind [`SessionLayer`](super::SessionLayer) or
    /// [`OriginCheckLayer`](super::OriginCheckLayer): the handler's body as it is, or the page of an error.
    ///
    /// It is a body wherever the handler's is one with [`Bytes`] as its data, as axum's, hyper's and tower-http's
    /// are.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        content: Content<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = Projected]
    enum Content<B> {
        Handler {
            #[pin]
            body: B,
            // Whether changes were committed for a gRPC call, whose trailers may still report a failure.
            checks_trailers: bool,
        },
        Text { text: Option<Bytes> },
    }
}

impl<B> ResponseBody<B> {
    /// The handler's own body.
    pub(super) fn handler(body: B) -> ResponseBody<B> {
        ResponseBody { content: Content::Handler { body, checks_trailers: false } }
    }

    /// A text in its place.
    pub(super) fn text(text: Bytes) -> ResponseBody<B> {
        ResponseBody { content: Content::Text { text: Some(text).filter(|text| !text.is_empty()) } }
    }

    /// Logs a `grpc-status` in the trailers that reports a failure.
    pub(super) fn check_trailers(&mut self) {
        if let Content::Handler { checks_trailers, .. } = &mut self.content {
            *checks_trailers = true;
        }
    }
}

/// An empty body.
impl<B> Default for ResponseBody<B> {
    fn default() -> ResponseBody<B> {
        ResponseBody::text(Bytes::new())
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().content.project() {
            Projected::Handler { body, checks_trailers } => {
                let frame = ready!(body.poll_frame(context));
                if *checks_trailers
                    && let Some(Ok(frame)) = &frame
                    && let Some(trailers) = frame.trailers_ref().filter(|trailers| grpc_failed(trailers))
                {
                    tracing::warn!(
                        grpc_status = grpc_status(trailers),
                        "a gRPC call failed in its trailers: its session changes were committed before its head"
                    );
                }
                Poll::Ready(frame)
            }
            Projected::Text { text } => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Handler { body, .. } => body.is_end_stream(),
            Content::Text { text } => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Handler { body, .. } => body.size_hint(),
            Content::Text { text } => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
        }
    }
}

/// The number of `grpc-status`, if it is one.
fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// Whether `grpc-status` is there and reports a failure.
pub(super) fn grpc_failed(headers: &HeaderMap) -> bool {
    headers.get("grpc-status").is_some_and(|status| status != "0")
}
